import { makeFolder } from '../../../common/make-folder.ts'
import { Turns } from '../../../common/turns.ts'
import { errors } from '../../errors.ts'
import { idsFrom, isSameEventId } from '../../ids/event-id.ts'
import type { EventId } from '../../ids/event-id.ts'
import { positionBeforeFirst } from '../../ids/resume.ts'
import { FolderOwner } from './folder-owner.ts'
import { appendError } from '../append-error.ts'
import type { AppendRefusal } from '../append-error.ts'
import { entryBytes } from '../entry-bytes.ts'
import { firstWhere } from '../first-where.ts'
import { fingerprintOf, keyNameOf } from '../idempotency.ts'
import {
  admitAppend, applyLease, closeTopic, countAppend, expireLease, OPEN, reopenTopic, replyOf, tellLease
} from '../lease.ts'
import type { AppendLease, LeaseReply, LeaseRequest } from '../lease.ts'
import { endedMs, idleSince, Lifetimes } from '../lifetimes.ts'
import { TopicListeners } from '../topic-listeners.ts'
import {
  beginWrite, closeFiles, dropEntries, emptyMeta, msOf, openFiles, reasonOf, toEntry, toLogError, toStartError, toStored
} from './lmdb-files.ts'
import type { LmdbFiles, Meta, Used } from './lmdb-files.ts'
import { resolveLmdbLogOptions } from './lmdb-log-options.ts'
import type { LmdbLogOptions } from './lmdb-log-options.ts'
import { LmdbSweep } from './lmdb-sweep.ts'
import type {
  Appended, AppendOptions, DeleteOptions, LogEntry, LogLogger, Location, NewEvent, PageLimit, SeekStart, TopicEnds,
  TopicListener, TopicLog
} from '../topic-log.ts'

/** Conditions of an append. */
interface AppendTerms { key: { name: string, fingerprint: string } | undefined, lease: AppendLease | undefined }

/** The embedded log: LMDB files in a folder, for one process. It survives kill -9 and, by default, a power failure. */
export class LmdbLog implements TopicLog {
  readonly #folder: string
  readonly #durability: 'disk' | 'process'
  readonly #now: () => number
  readonly #lifetimes: Lifetimes
  readonly #sweep: LmdbSweep
  readonly #owner: FolderOwner
  readonly #listeners = new TopicListeners()
  readonly #turns = new Turns()
  #files: LmdbFiles | undefined
  readonly #writing = new Set<Promise<unknown>>()

  /** Opens nothing yet. Throws `TOPICS_BAD_OPTION`. */
  constructor (options: LmdbLogOptions) {
    const { folder, retention, durability, now } = resolveLmdbLogOptions(options)
    this.#folder = folder
    this.#durability = durability
    this.#now = now
    this.#lifetimes = new Lifetimes(retention, now)
    this.#sweep = new LmdbSweep(this.#lifetimes)
    this.#owner = new FolderOwner(folder)
  }

  /**
   * Rejects with `TOPICS_LOG_IN_USE` when another process has the folder, with `TOPICS_LOG_CORRUPT` when the files
   * cannot be read, with `TOPICS_LOG_UNAVAILABLE` when a full disk has no room for new ones, and with
   * `TOPICS_BAD_OPTION` when the folder cannot be made, or it or its files cannot be written to.
   */
  async start (logger: LogLogger): Promise<void> {
    this.#listeners.start(logger)
    try {
      makeFolder(this.#folder)
      await this.#owner.take()
      this.#files = openFiles(this.#folder)
    } catch (cause) {
      await this.#owner.release()
      throw toStartError(this.#folder, cause)
    }
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const name = keyNameOf(options)
    const key = name === undefined ? undefined : { name, fingerprint: fingerprintOf(events) }
    const appended = await this.#write(() => {
      this.#sweep.some(this.#db)
      return this.#appendNow(topic, events, { key, lease: options.lease })
    })
    if (typeof appended === 'string') throw appendError(appended, topic, options.idempotencyKey)
    if (!appended.isRepeat) {
      const entries = events.map((event, at) => ({ ...event, id: appended.ids[at]! }))
      this.#listeners.tell(topic, listener => listener.onEntries(entries))
    }
    return appended
  }

  async read (topic: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    return this.#lookInTurn(() => this.#page(topic, after, limit))
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    return this.#lookInTurn(() => {
      const meta = this.#peek(topic)
      const ends = this.#ends(topic, meta)
      const isWithin = ends.first !== undefined && id.n >= ends.first.n && id.n <= meta.last.n
      return { ends, exists: isWithin && isSameEventId(this.#id(topic, id.n), id) }
    })
  }

  async seek (topic: string, start: SeekStart): Promise<EventId> {
    return this.#lookInTurn(() => {
      const meta = this.#peek(topic)
      const first = this.#firstKept(topic, meta)
      const n = 'last' in start
        ? meta.last.n - start.last + 1
        : this.#firstSince(topic, first, meta.last.n, this.#now() - start.withinMs)
      return n > first ? this.#id(topic, n - 1) : positionBeforeFirst(this.#ends(topic, meta))
    })
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    const ends = this.#look(() => this.#ends(topic, this.#peek(topic)))
    this.#listeners.set(topic, listener)
    return ends
  }

  async unfollow (topic: string, listener: TopicListener): Promise<void> { this.#listeners.delete(topic, listener) }

  async close (topic: string): Promise<void> {
    await this.#write(() => {
      const meta = this.#peek(topic)
      this.#putMeta(topic, { ...meta, state: closeTopic(meta.state), touchedAt: this.#now() })
    })
    this.#listeners.tell(topic, listener => listener.onClosed())
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    const { outcome, state, news } = await this.#write(() => {
      const meta = this.#stored(topic)
      const step = applyLease(meta.state, request, this.#now())
      // An expired lease closes the topic; that is not a use of it.
      const touchedAt = step.outcome === 'ok' ? this.#now() : idleSince(meta)
      if (step.state !== meta.state) this.#putMeta(topic, { ...meta, state: step.state, touchedAt })
      return step
    })
    if (news) this.#listeners.tell(topic, listener => tellLease(listener, news, state.lease.fence))
    return replyOf(outcome, state, this.#now())
  }

  async delete (topic: string, { ifClosed = false }: DeleteOptions = {}): Promise<boolean> {
    const isDone = await this.#write(() => {
      const meta = this.#peek(topic)
      if (ifClosed && !meta.state.isClosed) return false
      dropEntries(this.#db, topic, meta.first, meta.last.n)
      const isUsed = meta.last.n > 0 || meta.state !== OPEN
      if (isUsed) this.#putMeta(topic, { ...meta, first: meta.last.n + 1, state: reopenTopic(meta.state) })
      return true
    })
    if (isDone) this.#listeners.tell(topic, listener => listener.onResync())
    return isDone
  }

  async stop (): Promise<void> {
    const files = this.#files
    this.#files = undefined
    await Promise.all(this.#writing)
    if (files) await closeFiles(files)
    await this.#owner.release()
  }

  get #db (): LmdbFiles {
    if (!this.#files) throw new errors.TOPICS_LOG_UNAVAILABLE('it is not open')
    return this.#files
  }

  /** Runs reads, which take no time of other work for long, however many of them there are. */
  async #lookInTurn<T> (reads: () => T): Promise<T> {
    if (this.#turns.mustPause()) await this.#turns.next()
    return this.#look(reads)
  }

  #look<T> (reads: () => T): T {
    try {
      return reads()
    } catch (cause) {
      throw toLogError(this.#folder, cause)
    }
  }

  /** Runs writes in one transaction, all or none; settles when they are as durable as configured. */
  async #write<T> (work: () => T): Promise<T> {
    const { written, flushed, over } = beginWrite(this.#db, work)
    this.#writing.add(over)
    void over.then(() => this.#writing.delete(over))
    try {
      const result = await written
      if (this.#durability === 'disk') await flushed
      return result
    } catch (cause) {
      throw toLogError(this.#folder, await reasonOf(cause))
    }
  }

  /** All reads precede the first write, so that damage is found before anything is written. */
  #appendNow (topic: string, events: readonly NewEvent[], { key, lease }: AppendTerms): Appended | AppendRefusal {
    const earlier = key && this.#earlier(topic, key.name)
    if (key && earlier) {
      return earlier.fingerprint === key.fingerprint
        ? { ids: idsFrom(earlier.first, earlier.count), isRepeat: true }
        : 'reused'
    }
    const meta = this.#peek(topic)
    const admitted = admitAppend(meta.state, lease, events.length)
    if (admitted === 'repeat') return { ids: [], isRepeat: true }
    if (admitted !== 'append') return admitted
    const state = { ...meta.state, lease: countAppend(meta.state.lease, lease, events.length, this.#now()) }
    const ms = Math.max(meta.last.ms, (meta.forgottenMs ?? 0) + 1, this.#now())
    const ids = idsFrom({ ms, n: meta.last.n + 1 }, events.length)
    const last = ids.at(-1)!
    const first = Math.max(this.#firstKept(topic, meta), last.n - this.#lifetimes.retentionOf(topic).maxEvents + 1)
    this.#putMeta(topic, { ...meta, first, last, bornMs: meta.bornMs || ids[0]!.ms, state, touchedAt: this.#now() })
    events.forEach((event, at) => { void this.#db.entries.put([topic, ids[at]!.n], toStored(ids[at]!, event)) })
    dropEntries(this.#db, topic, meta.first, first - 1)
    if (key) {
      void this.#db.keys.put([topic, key.name], {
        first: ids[0]!, count: ids.length, fingerprint: key.fingerprint, usedAt: this.#now()
      })
    }
    return { ids, isRepeat: false }
  }

  /** The current state of the topic; an expired topic is empty, and one whose lease has expired is closed. */
  #peek (topic: string): Meta {
    const meta = this.#stored(topic)
    return { ...meta, state: expireLease(meta.state, this.#now()) }
  }

  /** Like `#peek`, but the topic is open as long as no request has closed it. */
  #stored (topic: string): Meta {
    const meta = this.#db.topics.get(topic)
    if (meta && !this.#lifetimes.hasExpired(topic, meta)) return meta
    return emptyMeta(this.#now(), meta ? endedMs(meta) : 0, OPEN)
  }

  #putMeta (topic: string, meta: Meta): void {
    const old = this.#db.topics.get(topic)
    // Leftover entries of an earlier life have different numbers from those that the new life overwrites.
    if (old && this.#lifetimes.hasExpired(topic, old)) {
      dropEntries(this.#db, topic, Math.max(old.first, meta.last.n + 1), old.last.n)
    }
    void this.#db.topics.put(topic, meta)
  }

  /** The first number that the limits of count and age retain. */
  #firstKept (topic: string, meta: Meta): number {
    const { maxEvents, maxAgeMs } = this.#lifetimes.retentionOf(topic)
    const byCount = Math.max(meta.first, meta.last.n - maxEvents + 1)
    return maxAgeMs === 0 ? byCount : this.#firstSince(topic, byCount, meta.last.n, this.#now() - maxAgeMs + 1)
  }

  /** The first number from a time on; `last + 1` if there is none. Times never go back. */
  #firstSince (topic: string, first: number, last: number, sinceMs: number): number {
    return firstWhere(first, last + 1, n => this.#id(topic, n).ms >= sinceMs)
  }

  #entry (topic: string, n: number): LogEntry {
    const stored = this.#db.entries.get([topic, n])
    return stored ? toEntry(n, stored) : this.#missing(topic, n)
  }

  #id (topic: string, n: number): EventId {
    const ms = msOf(this.#db, topic, n)
    return ms === undefined ? this.#missing(topic, n) : { ms, n }
  }

  #missing (topic: string, n: number): never {
    throw new errors.TOPICS_LOG_CORRUPT(this.#folder, `event ${n} of topic "${topic}" is missing`)
  }

  #page (topic: string, after: EventId, limit: PageLimit): LogEntry[] {
    const meta = this.#peek(topic)
    const page: LogEntry[] = []
    let bytes = 0
    // A number from an earlier life says nothing about this one.
    const next = after.ms < meta.bornMs ? 1 : after.n + 1
    for (let n = Math.max(next, this.#firstKept(topic, meta)); n <= meta.last.n && page.length < limit.count; n++) {
      const entry = this.#entry(topic, n)
      bytes += entryBytes(entry)
      if (page.length > 0 && bytes > limit.bytes) break
      page.push(entry)
    }
    return page
  }

  #ends (topic: string, meta: Meta): TopicEnds {
    const n = this.#firstKept(topic, meta)
    const count = Math.max(0, meta.last.n - n + 1)
    return this.#lifetimes.endsOf(topic, meta, { first: count > 0 ? this.#id(topic, n) : undefined, count })
  }

  #earlier (topic: string, key: string): Used | undefined {
    const used = this.#db.keys.get([topic, key])
    return used && !this.#lifetimes.isStale(topic, used) ? used : undefined
  }
}
