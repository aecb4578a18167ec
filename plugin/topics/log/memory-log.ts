import { errors } from '../errors.ts'
import { compareEventIds, idsFrom, isSameEventId, ORIGIN } from '../event-id.ts'
import type { EventId } from '../event-id.ts'
import { positionBeforeFirst } from '../resume.ts'
import { createRetention, rememberedMs } from '../retention.ts'
import type { RetentionOf, RetentionRule } from '../retention.ts'
import { fingerprintOf, keyNameOf } from './idempotency.ts'
import type { KeyedAppend } from './idempotency.ts'
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
} from './lease.ts'
import type { LeaseReply, LeaseRequest, LeaseState } from './lease.ts'
import { TopicListeners } from './topic-listeners.ts'
import type {
  Appended,
  AppendOptions,
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
  /** Retention by topic pattern; the first rule that matches counts. */
  retention?: readonly RetentionRule[]
  /** The clock, in Unix ms. Default `Date.now`. */
  now?: () => number
}

interface Topic {
  /** Retained entries begin at `head`; what lies before is let go in one piece now and then. */
  entries: LogEntry[]
  head: number
  last: EventId
  bornMs: number
  /** 1 ms after the last entry of the life before this one, 0 when there was none. */
  forgottenMs: number
  /** Whether it is closed, and the lease of its producer. */
  state: LeaseState
  /** Clock of the last append, close or request of a producer. */
  touchedAt: number
  /** What was appended with an idempotency key, by the name of the key, oldest first. */
  keys: Map<string, KeyedAppend & { usedAt: number }>
}

/** Dropped entries are let go when they outnumber the kept ones, and there are more than this. */
const MIN_COMPACTED = 1_000
/** Topics looked at for idle expiry per append: enough to go through all of them while as many appends come. */
const SWEPT_PER_APPEND = 2
/** Stale idempotency keys dropped each time a topic is looked at: more than one append adds. */
const KEYS_PER_SWEEP = 2

/** The reference implementation: everything in the memory of one process, gone with it. */
export class MemoryLog implements TopicLog {
  readonly #topics = new Map<string, Topic>()
  readonly #listeners = new TopicListeners()
  readonly #retentionOf: RetentionOf
  readonly #now: () => number
  #sweep: Iterator<[string, Topic]> | undefined

  /** Throws `TOPICS_BAD_OPTION`. */
  constructor ({ retention, now = Date.now }: MemoryLogOptions = {}) {
    this.#retentionOf = createRetention(retention)
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
    if (earlier && earlier.fingerprint !== fingerprint) {
      throw new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(options.idempotencyKey, name)
    }
    if (earlier) return { ids: idsFrom(earlier.first, earlier.count), isRepeat: true }
    const admitted = admitAppend(topic.state, options.lease, events.length)
    if (admitted === 'repeat') return { ids: [], isRepeat: true }
    if (admitted === 'superseded') throw new errors.TOPICS_LEASE_LOST(name)
    if (admitted === 'closed') throw new errors.TOPICS_CLOSED(name)
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
      bytes += Buffer.byteLength(entry.data)
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
    const topic = this.#topic(name)
    const { outcome, state, news } = applyLease(topic.state, request, this.#now())
    topic.state = state
    if (request.do !== 'look') topic.touchedAt = this.#now()
    if (news) this.#listeners.tell(name, listener => tellLease(listener, news, state.lease.fence))
    return replyOf(outcome, state, this.#now())
  }

  async delete (name: string): Promise<void> {
    const topic = this.#peek(name)
    Object.assign(topic, { entries: [], head: 0, state: reopenTopic(topic.state) })
    this.#listeners.tell(name, listener => listener.onDoubt())
  }

  async stop (): Promise<void> {
    this.#listeners.clear()
  }

  /** The topic as it is now: without entries that are too old, and empty when it has expired. */
  #peek (name: string): Topic {
    const topic = this.#topics.get(name)
    if (topic && !this.#hasExpired(name, topic)) {
      this.#trim(name, topic)
      topic.state = expireLease(topic.state, this.#now())
      return topic
    }
    if (!topic) return emptyTopic(this.#now(), 0)
    this.#forget(name, topic)
    return emptyTopic(this.#now(), endedMs(topic))
  }

  #endsOf (name: string, { entries, head, last, bornMs, forgottenMs, state }: Topic): TopicEnds {
    const { expireAfterMs } = this.#retentionOf(name)
    return {
      first: entries[head]?.id,
      last,
      count: entries.length - head,
      bornMs,
      forgottenMs,
      expireAfterMs,
      nowMs: this.#now(),
      ...endingOf(state, this.#now()),
      jumps: []
    }
  }

  #topic (name: string): Topic {
    const topic = this.#peek(name)
    this.#topics.set(name, topic)
    return topic
  }

  #hasExpired (name: string, topic: Topic): boolean {
    const { expireAfterMs } = this.#retentionOf(name)
    return expireAfterMs > 0 && this.#now() - topic.touchedAt >= expireAfterMs
  }

  #earlier (name: string, topic: Topic, key: string | undefined): KeyedAppend | undefined {
    this.#dropStaleKeys(name, topic)
    const used = key === undefined ? undefined : topic.keys.get(key)
    return used && !this.#isStale(name, used) ? used : undefined
  }

  /** The newest key stands last, also where one of the same name has become stale. */
  #remember ({ keys }: Topic, key: string, used: KeyedAppend & { usedAt: number }): void {
    keys.delete(key)
    keys.set(key, used)
  }

  #isStale (name: string, { usedAt }: { usedAt: number }): boolean {
    return this.#now() - usedAt >= this.#retentionOf(name).idempotencyMs
  }

  #dropStaleKeys (name: string, { keys }: Topic): void {
    let dropped = 0
    for (const [key, used] of keys) {
      if (dropped++ === KEYS_PER_SWEEP || !this.#isStale(name, used)) return
      keys.delete(key)
    }
  }

  /** Gives each event its id: one time for all, never before the last one's, and the next numbers. */
  #number (topic: Topic, events: readonly NewEvent[]): LogEntry[] {
    const ms = Math.max(topic.last.ms, topic.forgottenMs + 1, this.#now())
    return events.map((event, at) => ({ ...event, id: { ms, n: topic.last.n + 1 + at } }))
  }

  #trim (name: string, topic: Topic): void {
    const { maxEvents, maxAgeMs } = this.#retentionOf(name)
    topic.head = Math.max(topic.head, topic.entries.length - maxEvents)
    if (maxAgeMs > 0) topic.head = firstAfter(topic.entries, topic.head, { ms: this.#now() - maxAgeMs, n: Infinity })
    if (topic.head < MIN_COMPACTED || topic.head < topic.entries.length / 2) return
    topic.entries = topic.entries.slice(topic.head)
    topic.head = 0
  }

  /** Idle topics and stale keys are dropped although nobody asks for them, a few per append and without a timer. */
  #sweepSome (): void {
    this.#sweep ??= this.#topics.entries()
    for (let swept = 0; swept < SWEPT_PER_APPEND; swept++) {
      const { done, value } = this.#sweep.next()
      if (done) {
        this.#sweep = undefined
        return
      }
      const [name, topic] = value
      if (this.#hasExpired(name, topic)) this.#forget(name, topic)
      else this.#dropStaleKeys(name, topic)
    }
  }

  /** Of an expired topic only its end is remembered, for a while; then nothing. */
  #forget (name: string, topic: Topic): void {
    if (!this.#hasExpired(name, topic)) return
    const idleMs = this.#now() - topic.touchedAt
    if (idleMs >= rememberedMs(this.#retentionOf(name).expireAfterMs)) this.#topics.delete(name)
    else if (topic.last.n > 0 || topic.state.isClosed) {
      this.#topics.set(name, emptyTopic(topic.touchedAt, endedMs(topic)))
    }
  }
}

/** What is remembered of a topic that is forgotten. */
function endedMs ({ last, forgottenMs }: Pick<Topic, 'last' | 'forgottenMs'>): number {
  return last.n > 0 ? last.ms + 1 : forgottenMs
}

function emptyTopic (touchedAt: number, forgottenMs: number): Topic {
  return { entries: [], head: 0, last: ORIGIN, bornMs: 0, forgottenMs, state: OPEN, touchedAt, keys: new Map() }
}

/** Index of the first entry after a position, from `head` on, by halving. */
function firstAfter (entries: readonly LogEntry[], head: number, position: EventId): number {
  let low = head
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareEventIds(entries[middle]!.id, position) > 0) high = middle
    else low = middle + 1
  }
  return low
}
