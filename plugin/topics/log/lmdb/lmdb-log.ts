import { mkdirSync } from 'node:fs'
import { errors } from '../../errors.ts'
import { idsFrom, isSameEventId, ORIGIN } from '../../event-id.ts'
import type { EventId } from '../../event-id.ts'
import { positionBeforeFirst } from '../../resume.ts'
import { createRetention, rememberedMs } from '../../retention.ts'
import type { RetentionOf, RetentionRule } from '../../retention.ts'
import { FolderOwner } from './folder-owner.ts'
import { fingerprintOf, keyNameOf } from '../idempotency.ts'
import {
  admitAppend,
  applyLease,
  closeTopic,
  countAppend,
  endingOf,
  expireLease,
  OPEN,
  reopenTopic,
  replyOf,
  tellLease
} from '../lease.ts'
import type { AppendLease, LeaseReply, LeaseRequest } from '../lease.ts'
import { TopicListeners } from '../topic-listeners.ts'
import { beginWrite, closeFiles, openFiles, reasonOf, toLogError } from './lmdb-files.ts'
import type { LmdbFiles, Meta, Stored, Used } from './lmdb-files.ts'
import type {
  Appended,
  AppendOptions,
  LogEntry,
  LogLogger,
  Location,
  NewEvent,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from '../topic-log.ts'

export interface LmdbLogOptions {
  /** Folder of the files; created for its owner alone when it does not exist. One process at a time may use it. */
  folder: string
  /** Retention by topic pattern; the first rule that matches counts. */
  retention?: readonly RetentionRule[]
  /**
   * When an append is acknowledged: `'disk'` when it is flushed to the disk, so that it survives a power cut;
   * `'process'` when it is with the operating system, so that it survives the end of this process. Default `'disk'`.
   */
  durability?: 'disk' | 'process'
  /** The clock, in Unix ms. Default `Date.now`. */
  now?: () => number
}

/** On what terms events are appended. */
interface AppendTerms { key: { name: string, fingerprint: string } | undefined, lease: AppendLease | undefined }

/** Expired topics and keys looked for per append: enough to go through all of them while as many appends come. */
const SWEPT_PER_APPEND = 2
/** Of a folder that is made: for its owner alone. */
const FOLDER_MODE = 0o700
/** Entries of a forgotten topic dropped in one transaction. */
const DROPPED_PER_STEP = 1_000

/** The embedded log: LMDB files in a folder, for one process. It survives kill -9, and by default a power cut. */
export class LmdbLog implements TopicLog {
  readonly #folder: string
  readonly #durability: 'disk' | 'process'
  readonly #now: () => number
  readonly #retentionOf: RetentionOf
  readonly #owner: FolderOwner
  readonly #listeners = new TopicListeners()
  #files: LmdbFiles | undefined
  readonly #writing = new Set<Promise<unknown>>()
  #swept = { topic: '', key: ['', ''] as [string, string] }

  /** Opens nothing yet. Throws `TOPICS_BAD_OPTION`. */
  constructor ({ folder, retention, durability = 'disk', now = Date.now }: LmdbLogOptions) {
    if (typeof folder !== 'string' || folder === '') {
      throw new errors.TOPICS_BAD_OPTION('folder', 'the path of a folder', String(folder))
    }
    if (durability !== 'disk' && durability !== 'process') {
      throw new errors.TOPICS_BAD_OPTION('durability', '"disk" or "process"', String(durability))
    }
    this.#folder = folder
    this.#durability = durability
    this.#now = now
    this.#retentionOf = createRetention(retention)
    this.#owner = new FolderOwner(folder)
  }

  /**
   * Rejects with `TOPICS_LOG_IN_USE` when another process has the folder, and with `TOPICS_LOG_CORRUPT` when the files
   * cannot be read.
   */
  async start (logger: LogLogger): Promise<void> {
    this.#listeners.start(logger)
    mkdirSync(this.#folder, { recursive: true, mode: FOLDER_MODE })
    await this.#owner.take()
    try {
      this.#files = openFiles(this.#folder)
    } catch (cause) {
      await this.#owner.release()
      throw Object.assign(new errors.TOPICS_LOG_CORRUPT(this.#folder, (cause as Error).message), { cause })
    }
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const name = keyNameOf(options)
    const key = name === undefined ? undefined : { name, fingerprint: fingerprintOf(events) }
    const appended = await this.#write(() => {
      this.#sweepSome()
      return this.#appendNow(topic, events, { key, lease: options.lease })
    })
    if (appended === 'reused') throw new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(options.idempotencyKey, topic)
    if (appended === 'superseded') throw new errors.TOPICS_LEASE_LOST(topic)
    if (appended === 'closed') throw new errors.TOPICS_CLOSED(topic)
    if (!appended.isRepeat) {
      const entries = events.map((event, at) => ({ ...event, id: appended.ids[at]! }))
      this.#listeners.tell(topic, listener => listener.onEntries(entries))
    }
    return appended
  }

  async read (topic: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    return this.#look(() => this.#page(topic, after, limit))
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    return this.#look(() => {
      const meta = this.#peek(topic)
      const ends = this.#ends(topic, meta)
      const isWithin = ends.first !== undefined && id.n >= ends.first.n && id.n <= meta.last.n
      return { ends, exists: isWithin && isSameEventId(this.#entry(topic, id.n).id, id) }
    })
  }

  async seek (topic: string, start: SeekStart): Promise<EventId> {
    return this.#look(() => {
      const meta = this.#peek(topic)
      const first = this.#firstKept(topic, meta)
      const n =
        'last' in start
          ? meta.last.n - start.last + 1
          : this.#firstSince(topic, first, meta.last.n, this.#now() - start.withinMs)
      return n > first ? this.#entry(topic, n - 1).id : positionBeforeFirst(this.#ends(topic, meta))
    })
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    const ends = this.#look(() => this.#ends(topic, this.#peek(topic)))
    this.#listeners.set(topic, listener)
    return ends
  }

  async unfollow (topic: string, listener: TopicListener): Promise<void> {
    this.#listeners.delete(topic, listener)
  }

  async close (topic: string): Promise<void> {
    await this.#write(() => {
      const meta = this.#peek(topic)
      this.#putMeta(topic, { ...meta, state: closeTopic(meta.state), touchedAt: this.#now() })
    })
    this.#listeners.tell(topic, listener => listener.onClosed())
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    const { outcome, state, news } = await this.#write(() => {
      const meta = this.#peek(topic)
      const step = applyLease(meta.state, request, this.#now())
      if (step.state !== meta.state) this.#putMeta(topic, { ...meta, state: step.state, touchedAt: this.#now() })
      return step
    })
    if (news) this.#listeners.tell(topic, listener => tellLease(listener, news, state.lease.fence))
    return replyOf(outcome, state, this.#now())
  }

  async delete (topic: string): Promise<void> {
    await this.#write(() => {
      const meta = this.#peek(topic)
      this.#drop(topic, meta.first, meta.last.n)
      if (meta.last.n > 0 || meta.state !== OPEN) {
        this.#putMeta(topic, { ...meta, first: meta.last.n + 1, state: reopenTopic(meta.state) })
      }
    })
    this.#listeners.tell(topic, listener => listener.onDoubt())
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

  /** Runs reads. */
  #look<T> (reads: () => T): T {
    try {
      return reads()
    } catch (cause) {
      throw toLogError(this.#folder, cause)
    }
  }

  /** Runs writes in one transaction, all or none, and settles when they are as durable as was asked for. */
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

  /** All reads come before the first write: what is damaged is found while nothing is written yet. */
  #appendNow (
    topic: string,
    events: readonly NewEvent[],
    { key, lease }: AppendTerms
  ): Appended | 'closed' | 'reused' | 'superseded' {
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
    const { last: { ms, n }, forgottenMs = 0 } = meta
    const ids = idsFrom({ ms: Math.max(ms, forgottenMs + 1, this.#now()), n: n + 1 }, events.length)
    const last = ids.at(-1)!
    const first = Math.max(this.#firstKept(topic, meta), last.n - this.#retentionOf(topic).maxEvents + 1)
    this.#putMeta(topic, { ...meta, first, last, bornMs: meta.bornMs || ids[0]!.ms, state, touchedAt: this.#now() })
    events.forEach((event, at) => { void this.#db.entries.put([topic, ids[at]!.n], toStored(ids[at]!, event)) })
    this.#drop(topic, meta.first, first - 1)
    if (key) {
      void this.#db.keys.put([topic, key.name], {
        first: ids[0]!,
        count: ids.length,
        fingerprint: key.fingerprint,
        usedAt: this.#now()
      })
    }
    return { ids, isRepeat: false }
  }

  /** The topic as it is now; one that has expired is empty. */
  #peek (topic: string): Meta {
    const meta = this.#db.topics.get(topic)
    const isThere = meta !== undefined && !this.#hasExpired(topic, meta)
    return isThere ? { ...meta, state: expireLease(meta.state, this.#now()) } : emptyMeta(this.#now(), endedMs(meta))
  }

  #putMeta (topic: string, meta: Meta): void {
    const old = this.#db.topics.get(topic)
    // What an earlier life of the topic left has other numbers than the new one may overwrite.
    if (old && this.#hasExpired(topic, old)) this.#drop(topic, Math.max(old.first, meta.last.n + 1), old.last.n)
    void this.#db.topics.put(topic, meta)
  }

  /** The first number that count and age leave. */
  #firstKept (topic: string, meta: Meta): number {
    const { maxEvents, maxAgeMs } = this.#retentionOf(topic)
    const byCount = Math.max(meta.first, meta.last.n - maxEvents + 1)
    return maxAgeMs === 0 ? byCount : this.#firstSince(topic, byCount, meta.last.n, this.#now() - maxAgeMs + 1)
  }

  /** The first number from a time on, by halving; `last + 1` when there is none. Times never go back. */
  #firstSince (topic: string, first: number, last: number, sinceMs: number): number {
    let low = first
    let high = last + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.#entry(topic, middle).id.ms >= sinceMs) high = middle
      else low = middle + 1
    }
    return low
  }

  #entry (topic: string, n: number): LogEntry {
    const stored = this.#db.entries.get([topic, n])
    if (!stored) throw new errors.TOPICS_LOG_CORRUPT(this.#folder, `event ${n} of topic "${topic}" is missing`)
    const [ms, event, data, retry] = stored
    return { id: { ms, n }, event: event ?? undefined, data, retry: retry ?? undefined }
  }

  #page (topic: string, after: EventId, limit: PageLimit): LogEntry[] {
    const meta = this.#peek(topic)
    const page: LogEntry[] = []
    let bytes = 0
    // The number of an earlier life says nothing about this one.
    const next = after.ms < meta.bornMs ? 1 : after.n + 1
    for (let n = Math.max(next, this.#firstKept(topic, meta)); n <= meta.last.n && page.length < limit.count; n++) {
      const entry = this.#entry(topic, n)
      bytes += Buffer.byteLength(entry.data)
      if (page.length > 0 && bytes > limit.bytes) break
      page.push(entry)
    }
    return page
  }

  #ends (topic: string, meta: Meta): TopicEnds {
    const first = this.#firstKept(topic, meta)
    const count = Math.max(0, meta.last.n - first + 1)
    const { last, bornMs, forgottenMs = 0, state } = meta
    const { expireAfterMs } = this.#retentionOf(topic)
    return {
      first: count > 0 ? this.#entry(topic, first).id : undefined,
      last,
      count,
      bornMs,
      forgottenMs,
      expireAfterMs,
      nowMs: this.#now(),
      ...endingOf(state, this.#now()),
      jumps: []
    }
  }

  #drop (topic: string, first: number, last: number): void {
    for (let n = first; n <= last; n++) void this.#db.entries.remove([topic, n])
  }

  #earlier (topic: string, key: string): Used | undefined {
    const used = this.#db.keys.get([topic, key])
    return used && !this.#isStale(topic, used) ? used : undefined
  }

  #isStale (topic: string, { usedAt }: Used): boolean {
    return this.#now() - usedAt >= this.#retentionOf(topic).idempotencyMs
  }

  #hasExpired (topic: string, meta: Meta): boolean {
    const { expireAfterMs } = this.#retentionOf(topic)
    return expireAfterMs > 0 && this.#now() - meta.touchedAt >= expireAfterMs
  }

  /** Expired topics and stale keys go although nobody asks for them, a few per append and without a timer. */
  #sweepSome (): void {
    const { topics, keys } = this.#db
    const someTopics = [...topics.getRange({ start: this.#swept.topic, limit: SWEPT_PER_APPEND + 1 })]
    this.#swept.topic = someTopics.length > SWEPT_PER_APPEND ? someTopics.at(-1)!.key : ''
    for (const { key, value } of someTopics) if (this.#hasExpired(key, value)) this.#forget(key, value)
    const someKeys = [...keys.getRange({ start: this.#swept.key, limit: SWEPT_PER_APPEND + 1 })]
    this.#swept.key = someKeys.length > SWEPT_PER_APPEND ? someKeys.at(-1)!.key : ['', '']
    for (const { key, value } of someKeys) if (this.#isStale(key[0], value)) void keys.remove(key)
  }

  /**
   * A long topic is dropped in steps, so that no single transaction takes long. What remains for a while is that there
   * was one.
   */
  #forget (topic: string, meta: Meta): void {
    const end = Math.min(meta.last.n, meta.first + DROPPED_PER_STEP - 1)
    this.#drop(topic, meta.first, end)
    if (end < meta.last.n) void this.#db.topics.put(topic, { ...meta, first: end + 1 })
    else if (this.#now() - meta.touchedAt >= rememberedMs(this.#retentionOf(topic).expireAfterMs)) {
      void this.#db.topics.remove(topic)
    } else if (meta.last.n > 0 || meta.state.isClosed) {
      void this.#db.topics.put(topic, emptyMeta(meta.touchedAt, endedMs(meta)))
    }
  }
}

/** What is remembered of a topic that is forgotten. */
function endedMs (meta: Meta | undefined): number {
  if (meta === undefined) return 0
  return meta.last.n > 0 ? meta.last.ms + 1 : meta.forgottenMs ?? 0
}

function emptyMeta (touchedAt: number, forgottenMs: number): Meta {
  return { first: 1, last: ORIGIN, bornMs: 0, forgottenMs, state: OPEN, touchedAt }
}

function toStored (
  { ms }: EventId,
  {
    event = null,
    data,
    retry = null
  }: { event?: string | null | undefined, data: string, retry?: number | null | undefined }
): Stored {
  return [ms, event, data, retry]
}
