import { MAX_TIMER_MS } from '../../common/timers.ts'
import { topicTag } from '../ids/cursor.ts'
import { errors } from '../errors.ts'
import { compareEventIds, formatEventId, isBefore, ORIGIN } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { endBody, gapBody } from './frames.ts'
import { TopicItem } from './topic-item.ts'
import type { TopicSink } from './topic-item.ts'
import type { Gap } from '../../common/in-band.ts'
import type { TopicEnd } from '../log/lease.ts'
import type { LogEntry, TopicEnds, TopicListener, TopicLog } from '../log/topic-log.ts'
import type { TopicsObserver } from '../observer.ts'
import { retryUntilAvailable } from '../retry.ts'
import { describeGap, endOf, isNext, resume } from '../ids/resume.ts'

export interface FollowerHooks {
  /** The log could not be queried about the topic. */
  onTrouble: (topic: string, error: unknown) => void
  /** Something other than new events may have happened in the topic. */
  onResync: (topic: string) => void
  /** The topic's producer was asked to stop. */
  onStop: (topic: string, fence: number) => void
  observer: TopicsObserver
}

/** How long after the end of its lease a producer is checked. */
const LEASE_TICK_MS = 50
/** If the log could not be queried about a lease, the query is repeated after this long. */
const LEASE_RETRY_MS = 1_000

const PAGE = { count: 500, bytes: 1024 * 1024 }

/**
 * Follows one topic for this whole process. The log may report entries repeatedly, and miss some if a connection was
 * lost; the sinks receive each exactly once:
 *
 * ```
 *   n == last + 1          accepted
 *   id <= last             a duplicate, dropped
 *   anything else          one resync: read the log after `last`; entries that arrive in the meantime wait
 * ```
 */
export class TopicFollower implements TopicListener {
  readonly topic: string
  readonly tag: string
  readonly #log: TopicLog
  readonly #hooks: FollowerHooks
  readonly #sinks = new Set<TopicSink>()
  #last: EventId = ORIGIN
  #expireAfterMs = 0
  /** The log's clock at the last comparison. */
  #comparedMs = 0
  /** Where the latest comparison did not find the next events. */
  #missingAfter = ''
  #end: TopicEnd | undefined
  #leaseTimer: NodeJS.Timeout | undefined
  #resyncing: Promise<void> | undefined
  #mustResync = false
  #isStarted = false
  #isStopped = false

  constructor (topic: string, log: TopicLog, hooks: FollowerHooks) {
    this.topic = topic
    this.tag = topicTag(topic)
    this.#log = log
    this.#hooks = hooks
  }

  /** Position of the newest event passed to the sinks. */
  get last (): EventId { return this.#last }
  /** Why the topic was closed; undefined while it is open. */
  get end (): TopicEnd | undefined { return this.#end }

  async start (): Promise<void> {
    const askedAt = performance.now()
    const ends = await this.#log.follow(this.topic, this)
    this.#last = endOf(ends)
    this.#expireAfterMs = ends.expireAfterMs
    this.#comparedMs = ends.nowMs
    this.#end = toTopicEnd(ends)
    this.#isStarted = true
    this.#watchLease(ends.leaseMs, askedAt)
    // Something happened between the log's answer and this line.
    if (this.#mustResync) this.onResync()
  }

  /** Cancels a resync that waits for the log. */
  stop (): void {
    this.#isStopped = true
    clearTimeout(this.#leaseTimer)
  }

  add (sink: TopicSink): void { this.#sinks.add(sink) }
  delete (sink: TopicSink): void { this.#sinks.delete(sink) }

  onEntries (entries: readonly LogEntry[]): void {
    // The resync reads them from the log in order; accepting them now would put them before the missing ones.
    if (this.#resyncing || !this.#isStarted) {
      this.#mustResync = true
      return
    }
    for (const entry of entries) {
      if (!this.#take(entry)) return this.onResync()
    }
  }

  onClosed (): void {
    // The last entries may still be missing: the resync ends with reading the topic's state.
    this.onResync()
  }

  onStop (fence: number): void {
    this.#hooks.onStop(this.topic, fence)
  }

  onResync (): void {
    this.#hooks.onResync(this.topic)
    this.#mustResync = true
    if (this.#isStarted) this.#resyncing ??= this.#resync()
  }

  /** Compares with the log; settles when everything that was missing has been passed on. */
  async resync (): Promise<void> {
    this.onResync()
    await this.#resyncing
  }

  /** Returns false if the entry does not follow the last one. */
  #take (entry: LogEntry): boolean {
    const { id } = entry
    if (!this.#isNext(id)) return id.n <= this.#last.n && compareEventIds(id, this.#last) <= 0
    this.#emit('event', id, entry)
    return true
  }

  /** After a pause in which the topic may have been forgotten, the next number may belong to its next life. */
  #isNext ({ ms, n }: EventId): boolean {
    const last = this.#last
    const knownMs = last.n === 0 ? this.#comparedMs : last.ms
    const isSameLife = this.#expireAfterMs === 0 || ms - knownMs < this.#expireAfterMs
    return n === last.n + 1 && ms >= last.ms && isSameLife
  }

  /** Compares until nothing can have been missed; while the log is unavailable, waits until it is back. */
  async #resync (): Promise<void> {
    try {
      const isOver = (): boolean => this.#isStopped
      while (this.#mustResync && !isOver()) {
        this.#mustResync = false
        await retryUntilAvailable(() => this.#compare(), isOver, error => this.#hooks.onTrouble(this.topic, error))
      }
    } catch (error) {
      this.#hooks.onTrouble(this.topic, error)
    } finally {
      this.#resyncing = undefined
    }
  }

  async #compare (): Promise<void> {
    this.#hooks.observer.onResync()
    const last = this.#last
    const askedAt = performance.now()
    const location = await this.#log.locate(this.topic, last)
    const { ends } = location
    this.#comparedMs = ends.nowMs
    this.#expireAfterMs = ends.expireAfterMs
    const { position, gap } = resume(last, location)
    if (gap) {
      const told = describeGap(this.topic, formatEventId(last), { position, gap }, location)
      this.#hooks.observer.onGap(gap.reason)
      this.#emit('gap', position, gapBody(told), told)
    }
    this.#last = position
    if (!ends.isClosed) this.#reopen()
    this.#watchLease(ends.leaseMs, askedAt)
    await this.#readUpTo(ends)
    const end = toTopicEnd(ends)
    if (end) this.#close(end)
  }

  async #readUpTo (ends: TopicEnds): Promise<void> {
    while (isBefore(this.#last, endOf(ends))) {
      const page = await this.#log.read(this.topic, this.#last, PAGE)
      if (!page[0] || !isNext(this.#last, page[0].id, ends)) this.#skip(page[0]?.id, ends)
      for (const entry of page) this.#emit('event', entry.id, entry)
    }
  }

  /**
   * Usually the next events were trimmed since both ends were read, and the next comparison reports the gap. If it does
   * not, the log contradicts itself: comparing further would never end, so the reason of the gap is `unknown`.
   */
  #skip (next: EventId | undefined, ends: TopicEnds): void {
    const after = formatEventId(this.#last)
    if (this.#missingAfter !== after) {
      this.#missingAfter = after
      throw new errors.TOPICS_LOG_UNAVAILABLE(`the events after ${after} are not where they should be`)
    }
    const told: Gap = { topic: this.topic, after, resumedAt: next ? formatEventId(next) : null, reason: 'unknown' }
    this.#hooks.observer.onGap(told.reason)
    this.#emit('gap', next ? this.#last : endOf(ends), gapBody(told), told)
  }

  #close (end: TopicEnd): void {
    if (this.#end) return
    this.#end = end
    this.#emit('end', this.#last, endBody(this.topic, end))
  }

  /**
   * A producer that dies sends no message. When its lease may have expired, the log is queried: that closes the topic,
   * or returns the remaining time of the lease. The time is counted from `askedAt`, when the log was queried, by
   * `performance.now()`: this process may have been suspended since then, and a query that is too early is repeated.
   */
  #watchLease (leaseMs: number | undefined, askedAt: number): void {
    clearTimeout(this.#leaseTimer)
    if (leaseMs === undefined || this.#isStopped) return
    const askInMs = leaseMs + LEASE_TICK_MS - (performance.now() - askedAt)
    // A value that another program wrote into the log may exceed the limit of a timer.
    this.#leaseTimer = setTimeout(() => { void this.#askForLease() }, Math.min(askInMs, MAX_TIMER_MS)).unref()
  }

  async #askForLease (): Promise<void> {
    const askedAt = performance.now()
    try {
      const { outcome, remainingMs } = await this.#log.lease(this.topic, { do: 'look' })
      if (outcome === 'ok') this.#watchLease(remainingMs, askedAt)
      else this.onResync()
    } catch (error) {
      this.#hooks.onTrouble(this.topic, error)
      this.#watchLease(LEASE_RETRY_MS, performance.now())
    }
  }

  #reopen (): void {
    if (!this.#end) return
    this.#end = undefined
    this.#emit('reopened', this.#last, NOTHING)
  }

  #emit (kind: TopicItem['kind'], id: EventId, content: LogEntry | Buffer, gap?: Gap): void {
    this.#last = id
    // An event after the end implies that the topic is open again; its next end is a new one.
    if (kind !== 'end') this.#end = undefined
    const item = new TopicItem({ kind, id, topic: this.topic, tag: this.tag, content, end: this.#end, gap })
    for (const sink of this.#sinks) sink(item)
  }
}

/** Undefined for a topic that is open. */
function toTopicEnd ({ reason, message }: TopicEnds): TopicEnd | undefined {
  return reason && { reason, ...message !== undefined && { message } }
}

const NOTHING = Buffer.alloc(0)
