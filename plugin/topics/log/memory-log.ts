import { checkOptions, isFunction } from '../../common/option-check.ts'
import type { OptionCheck } from '../../common/option-check.ts'
import { badOption } from '../errors.ts'
import { compareEventIds, idsFrom, isSameEventId, ORIGIN } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { positionBeforeFirst } from '../ids/resume.ts'
import { retentionRules } from '../retention.ts'
import type { RetentionRule } from '../retention.ts'
import { appendError } from './append-error.ts'
import { entryBytes } from './entry-bytes.ts'
import { firstWhere } from './first-where.ts'
import { fingerprintOf, keyNameOf } from './idempotency.ts'
import type { KeyedAppend } from './idempotency.ts'
import {
  admitAppend,
  applyLease,
  closeTopic,
  countAppend,
  expireLease,
  forgottenState,
  OPEN,
  reopenTopic,
  replyOf,
  tellLease
} from './lease.ts'
import type { LeaseReply, LeaseRequest, LeaseState } from './lease.ts'
import { endedMs, idleSince, Lifetimes } from './lifetimes.ts'
import type { Living } from './lifetimes.ts'
import { TopicListeners } from './topic-listeners.ts'
import type {
  Appended,
  AppendOptions,
  DeleteOptions,
  LogEntry,
  Location,
  LogLogger,
  NewEvent,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from './topic-log.ts'

export interface MemoryLogOptions {
  /** Retention by topic pattern; the first matching rule applies. */
  retention?: readonly RetentionRule[]
  /** The clock, in Unix ms. Default `Date.now`. */
  now?: () => number
}

const CHECKS: Readonly<Record<keyof MemoryLogOptions, OptionCheck>> = {
  retention: retentionRules,
  now: { range: 'a function', ok: isFunction }
}

interface Topic extends Living {
  /** Retained entries start at `head`; the entries before it are removed together from time to time. */
  entries: LogEntry[]
  head: number
  last: EventId
  bornMs: number
  forgottenMs: number
  state: LeaseState
  touchedAt: number
  /** Appends with an idempotency key, by the name of the key, oldest first. */
  keys: Map<string, KeyedAppend & { usedAt: number }>
}

/** Dropped entries are removed when they outnumber the retained ones and there are more than this. */
const MIN_COMPACTED = 1_000
/** Topics checked for idle expiry per append: enough to check all of them within as many appends. */
const SWEPT_PER_APPEND = 2
/** Stale idempotency keys removed each time a topic is accessed: more than one append adds. */
const KEYS_PER_SWEEP = 2

/** The reference implementation: everything is in the memory of one process and lost with it. */
export class MemoryLog implements TopicLog {
  readonly #topics = new Map<string, Topic>()
  readonly #listeners = new TopicListeners()
  readonly #lifetimes: Lifetimes
  readonly #now: () => number
  #sweep: Iterator<[string, Topic]> | undefined

  /** Throws `TOPICS_BAD_OPTION`. */
  constructor (options: MemoryLogOptions = {}) {
    checkOptions(options, CHECKS, badOption)
    const { retention, now = Date.now } = options
    this.#lifetimes = new Lifetimes(retention, now)
    this.#now = now
  }

  async start (logger?: LogLogger): Promise<void> {
    this.#listeners.start(logger)
  }

  async append (name: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    this.#sweepSome()
    const topic = this.#topic(name)
    const key = keyNameOf(options)
    const fingerprint = key === undefined ? '' : fingerprintOf(events)
    const earlier = this.#earlier(name, topic, key)
    if (earlier && earlier.fingerprint !== fingerprint) throw appendError('reused', name, options.idempotencyKey)
    if (earlier) return { ids: idsFrom(earlier.first, earlier.count), isRepeat: true }
    const admitted = admitAppend(topic.state, options.lease, events.length)
    if (admitted === 'repeat') return { ids: [], isRepeat: true }
    if (admitted !== 'append') throw appendError(admitted, name, options.idempotencyKey)
    topic.state = { ...topic.state, lease: countAppend(topic.state.lease, options.lease, events.length, this.#now()) }
    const entries = this.#number(topic, events)
    for (const entry of entries) topic.entries.push(entry)
    if (topic.last.n === 0) topic.bornMs = entries[0]!.id.ms
    topic.last = entries.at(-1)!.id
    topic.touchedAt = this.#now()
    const ids = entries.map(entry => entry.id)
    if (key !== undefined) {
      this.#remember(topic, key, { first: ids[0]!, count: ids.length, fingerprint, usedAt: this.#now() })
    }
    this.#trim(name, topic)
    this.#listeners.tell(name, listener => listener.onEntries(entries))
    return { ids, isRepeat: false }
  }

  async read (name: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    const { entries, head } = this.#peek(name)
    const page: LogEntry[] = []
    let bytes = 0
    for (let at = firstAfter(entries, head, after); at < entries.length && page.length < limit.count; at++) {
      const entry = entries[at]!
      bytes += entryBytes(entry)
      if (page.length > 0 && bytes > limit.bytes) break
      page.push(entry)
    }
    return page
  }

  async locate (name: string, id: EventId): Promise<Location> {
    const topic = this.#peek(name)
    const at = firstAfter(topic.entries, topic.head, id) - 1
    return { ends: this.#endsOf(name, topic), exists: at >= topic.head && isSameEventId(topic.entries[at]!.id, id) }
  }

  async seek (name: string, start: SeekStart): Promise<EventId> {
    const topic = this.#peek(name)
    const { entries, head } = topic
    const index =
      'last' in start
        ? entries.length - start.last
        : firstAfter(entries, head, { ms: this.#now() - start.withinMs - 1, n: Infinity })
    return index > head ? entries[index - 1]!.id : positionBeforeFirst(this.#endsOf(name, topic))
  }

  async follow (name: string, listener: TopicListener): Promise<TopicEnds> {
    this.#listeners.set(name, listener)
    return this.#endsOf(name, this.#peek(name))
  }

  async unfollow (name: string, listener: TopicListener): Promise<void> {
    this.#listeners.delete(name, listener)
  }

  async close (name: string): Promise<void> {
    const topic = this.#topic(name)
    topic.state = closeTopic(topic.state)
    topic.touchedAt = this.#now()
    this.#listeners.tell(name, listener => listener.onClosed())
  }

  async lease (name: string, request: LeaseRequest): Promise<LeaseReply> {
    const topic = this.#peek(name)
    const { outcome, state, news } = applyLease(topic.state, request, this.#now())
    // A request without effect creates no topic: its name may have been made up by a client.
    if (outcome === 'ok' && request.do !== 'look') {
      this.#topics.set(name, topic)
      Object.assign(topic, { state, touchedAt: this.#now() })
    }
    if (news) this.#listeners.tell(name, listener => tellLease(listener, news, state.lease.fence))
    return replyOf(outcome, state, this.#now())
  }

  async delete (name: string, { ifClosed = false }: DeleteOptions = {}): Promise<boolean> {
    const topic = this.#peek(name)
    if (ifClosed && !topic.state.isClosed) return false
    Object.assign(topic, { entries: [], head: 0, state: reopenTopic(topic.state) })
    this.#listeners.tell(name, listener => listener.onResync())
    return true
  }

  async stop (): Promise<void> {
    this.#listeners.clear()
  }

  /** The current state of the topic: without entries that are too old, and empty if it has expired. */
  #peek (name: string): Topic {
    const topic = this.#topics.get(name)
    if (topic && !this.#lifetimes.hasExpired(name, topic)) {
      this.#trim(name, topic)
      this.#expireLease(name, topic)
      return topic
    }
    if (!topic) return emptyTopic(this.#now(), 0, OPEN)
    this.#forget(name, topic)
    return emptyTopic(this.#now(), endedMs(topic), OPEN)
  }

  /** Closes the topic if the lease of its producer has expired. */
  #expireLease (name: string, topic: Topic): void {
    const state = expireLease(topic.state, this.#now())
    if (state === topic.state) return
    Object.assign(topic, { state, touchedAt: idleSince(topic) })
    this.#listeners.tell(name, listener => listener.onClosed())
  }

  #endsOf (name: string, topic: Topic): TopicEnds {
    const { entries, head } = topic
    return this.#lifetimes.endsOf(name, topic, { first: entries[head]?.id, count: entries.length - head })
  }

  #topic (name: string): Topic {
    const topic = this.#peek(name)
    this.#topics.set(name, topic)
    return topic
  }

  #earlier (name: string, topic: Topic, key: string | undefined): KeyedAppend | undefined {
    this.#dropStaleKeys(name, topic)
    const used = key === undefined ? undefined : topic.keys.get(key)
    return used && !this.#lifetimes.isStale(name, used) ? used : undefined
  }

  /** The newest key is last, even if it replaces a stale one of the same name. */
  #remember ({ keys }: Topic, key: string, used: KeyedAppend & { usedAt: number }): void {
    keys.delete(key)
    keys.set(key, used)
  }

  #dropStaleKeys (name: string, { keys }: Topic): void {
    let dropped = 0
    for (const [key, used] of keys) {
      if (dropped++ === KEYS_PER_SWEEP || !this.#lifetimes.isStale(name, used)) return
      keys.delete(key)
    }
  }

  /** Assigns ids to events: the same time for all, never earlier than the last one, and consecutive numbers. */
  #number (topic: Topic, events: readonly NewEvent[]): LogEntry[] {
    const ms = Math.max(topic.last.ms, topic.forgottenMs + 1, this.#now())
    return events.map((event, at) => ({ ...event, id: { ms, n: topic.last.n + 1 + at } }))
  }

  #trim (name: string, topic: Topic): void {
    const { maxEvents, maxAgeMs } = this.#lifetimes.retentionOf(name)
    topic.head = Math.max(topic.head, topic.entries.length - maxEvents)
    if (maxAgeMs > 0) topic.head = firstAfter(topic.entries, topic.head, { ms: this.#now() - maxAgeMs, n: Infinity })
    if (topic.head < MIN_COMPACTED || topic.head < topic.entries.length / 2) return
    topic.entries = topic.entries.slice(topic.head)
    topic.head = 0
  }

  /** Drops idle topics and stale keys that nobody accesses, a few per append and without a timer. */
  #sweepSome (): void {
    this.#sweep ??= this.#topics.entries()
    for (let swept = 0; swept < SWEPT_PER_APPEND; swept++) {
      const { done, value } = this.#sweep.next()
      if (done) {
        this.#sweep = undefined
        return
      }
      const [name, topic] = value
      if (this.#lifetimes.hasExpired(name, topic)) this.#forget(name, topic)
      else this.#dropStaleKeys(name, topic)
    }
  }

  #forget (name: string, topic: Topic): void {
    const fate = this.#lifetimes.fateOf(name, topic)
    if (fate === 'drop') this.#topics.delete(name)
    else if (fate === 'end') {
      this.#topics.set(name, emptyTopic(topic.touchedAt, endedMs(topic), forgottenState(topic.state)))
    }
  }
}

function emptyTopic (touchedAt: number, forgottenMs: number, state: LeaseState): Topic {
  return { entries: [], head: 0, last: ORIGIN, bornMs: 0, forgottenMs, state, touchedAt, keys: new Map() }
}

/** Index of the first entry after a position, from `head` on. */
function firstAfter (entries: readonly LogEntry[], head: number, position: EventId): number {
  return firstWhere(head, entries.length, index => compareEventIds(entries[index]!.id, position) > 0)
}
