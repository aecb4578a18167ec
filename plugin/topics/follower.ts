import { formatPosition, topicTag } from './cursor.ts'
import { errors } from './errors.ts'
import { compareEventIds, formatEventId, isBefore, ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import { endBody, gapBody } from './frames.ts'
import type { EncodeEntry } from './frames.ts'
import type { TopicEnd } from './log/lease.ts'
import type { LogEntry, TopicEnds, TopicListener, TopicLog } from './log/topic-log.ts'
import type { TopicsObserver } from './observer.ts'
import { retryUntilAvailable } from './retry.ts'
import { describeGap, endOf, isNext, resume } from './resume.ts'

interface TopicItemInit {
  kind: TopicItem['kind']
  id: EventId
  topic: string
  tag: string
  content: LogEntry | Buffer
  end?: TopicEnd | undefined
}

/**
 * One thing that happened in a topic. A topic that was closed and then deleted is open again: that is `reopened`, and
 * has no body. What is made of an item is made once and shared by all feeds.
 */
export class TopicItem {
  readonly kind: 'event' | 'gap' | 'end' | 'reopened'
  /** The position after it. */
  readonly id: EventId
  /** That position as a part of a cursor. */
  readonly position: string
  /** Why the topic ended; for `end` only. */
  readonly end: TopicEnd | undefined
  readonly #topic: string
  readonly #content: LogEntry | Buffer
  readonly #bodies = new Map<EncodeEntry, Buffer>()

  /** An event is given as the log has it, anything else as its body. */
  constructor ({ kind, id, topic, tag, content, end }: TopicItemInit) {
    this.kind = kind
    this.id = id
    this.position = formatPosition(tag, id)
    this.end = end
    this.#topic = topic
    this.#content = content
  }

  /** Everything of its frame but the id line. */
  body (encode: EncodeEntry): Buffer {
    if (Buffer.isBuffer(this.#content)) return this.#content
    const body = this.#bodies.get(encode) ?? encode(this.#topic, this.#content)
    this.#bodies.set(encode, body)
    return body
  }
}

/** Hears what happens in a topic, in order and without holes: what is missing is there as a gap. */
export type TopicSink = (item: TopicItem) => void

export interface FollowerHooks {
  /** The log could not be asked about the topic. */
  onTrouble: (topic: string, error: unknown) => void
  /** Something other than new events has happened in the topic, perhaps. */
  onDoubt: (topic: string) => void
  /** The topic's producer was asked to stop. */
  onStop: (topic: string, fence: number) => void
  observer: TopicsObserver
}

/** How much later than its lease a producer is looked for. */
const LEASE_TICK_MS = 50
/** When the log could not be asked for a lease, it is asked again. */
const LEASE_RETRY_MS = 1_000

const PAGE = { count: 500, bytes: 1024 * 1024 }

/**
 * Follows one topic for this whole process. What the log tells may repeat, and may have holes where a connection was
 * lost; what the sinks hear does not:
 *
 * ```
 *   n == last + 1          taken
 *   id <= last             a repeat, dropped
 *   anything else          one resync: read the log after `last`; what arrives meanwhile waits
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
  /** The log's clock when it was last compared with. */
  #comparedMs = 0
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

  /** Position of the newest event told to the sinks. */
  get last (): EventId { return this.#last }
  /** Why the topic was closed; undefined while it is open. */
  get end (): TopicEnd | undefined { return this.#end }

  async start (): Promise<void> {
    const ends = await this.#log.follow(this.topic, this)
    this.#last = endOf(ends)
    this.#expireAfterMs = ends.expireAfterMs
    this.#comparedMs = ends.nowMs
    this.#end = toTopicEnd(ends)
    this.#isStarted = true
    this.#watchLease(ends.leaseMs)
    // Something came between the log's answer and this line.
    if (this.#mustResync) this.onDoubt()
  }

  /** Gives up a resync that waits for the log. */
  stop (): void {
    this.#isStopped = true
    clearTimeout(this.#leaseTimer)
  }

  add (sink: TopicSink): void { this.#sinks.add(sink) }
  delete (sink: TopicSink): void { this.#sinks.delete(sink) }

  onEntries (entries: readonly LogEntry[]): void {
    // A resync reads them from the log in their order; taking them now would put them before what is missing.
    if (this.#resyncing || !this.#isStarted) {
      this.#mustResync = true
      return
    }
    for (const entry of entries) {
      if (!this.#take(entry)) return this.onDoubt()
    }
  }

  onClosed (): void {
    // The last entries may still be missing: the resync ends with the topic's state.
    this.onDoubt()
  }

  onStop (fence: number): void {
    this.#hooks.onStop(this.topic, fence)
  }

  onDoubt (): void {
    this.#hooks.onDoubt(this.topic)
    this.#mustResync = true
    if (this.#isStarted) this.#resyncing ??= this.#resync()
  }

  /** Compares with the log; settles when what was missing has been passed on. */
  async resync (): Promise<void> {
    this.onDoubt()
    await this.#resyncing
  }

  /** False when the entry does not join what is there. */
  #take (entry: LogEntry): boolean {
    const { id } = entry
    if (!this.#isNext(id)) return id.n <= this.#last.n && compareEventIds(id, this.#last) <= 0
    this.#emit('event', id, entry)
    return true
  }

  /** After a pause in which the topic may have been forgotten, the next number can be one of its next life. */
  #isNext ({ ms, n }: EventId): boolean {
    const last = this.#last
    const knownMs = last.n === 0 ? this.#comparedMs : last.ms
    const isSameLife = this.#expireAfterMs === 0 || ms - knownMs < this.#expireAfterMs
    return n === last.n + 1 && ms >= last.ms && isSameLife
  }

  /** Compares until nothing may have been missed; while the log is away, until it is back. */
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
    this.#hooks.observer.onRepair()
    const last = this.#last
    const location = await this.#log.locate(this.topic, last)
    const { ends } = location
    this.#comparedMs = ends.nowMs
    const { position, gap } = resume(last, location)
    if (gap) {
      const told = describeGap(this.topic, formatEventId(last), { position, gap }, location)
      this.#hooks.observer.onGap(gap.reason)
      this.#emit('gap', position, gapBody(told))
    }
    this.#last = position
    if (!ends.isClosed) this.#reopen()
    await this.#readUpTo(ends)
    this.#watchLease(ends.leaseMs)
    const end = toTopicEnd(ends)
    if (end) this.#close(end)
  }

  async #readUpTo (ends: TopicEnds): Promise<void> {
    while (isBefore(this.#last, endOf(ends))) {
      const page = await this.#log.read(this.topic, this.#last, PAGE)
      // Trimmed since both ends were read, mostly: asked again after a pause, because a log that contradicts itself
      // would spin.
      if (!page[0] || !isNext(this.#last, page[0].id, ends)) {
        throw new errors.TOPICS_LOG_UNAVAILABLE(
          `the events after ${formatEventId(this.#last)} are not where they should be`
        )
      }
      for (const entry of page) this.#emit('event', entry.id, entry)
    }
  }

  #close (end: TopicEnd): void {
    if (this.#end) return
    this.#end = end
    this.#emit('end', this.#last, endBody(this.topic, end))
  }

  /**
   * A producer that dies says nothing. When its lease can have run out the log is asked: that closes the topic, or
   * tells how long the lease still runs.
   */
  #watchLease (leaseMs: number | undefined): void {
    clearTimeout(this.#leaseTimer)
    if (leaseMs === undefined || this.#isStopped) return
    this.#leaseTimer = setTimeout(() => { void this.#askForLease() }, leaseMs + LEASE_TICK_MS).unref()
  }

  async #askForLease (): Promise<void> {
    try {
      const { outcome, isClosed, remainingMs } = await this.#log.lease(this.topic, { do: 'look' })
      if (isClosed) this.onDoubt()
      else if (outcome === 'ok') this.#watchLease(remainingMs)
    } catch (error) {
      this.#hooks.onTrouble(this.topic, error)
      this.#watchLease(LEASE_RETRY_MS)
    }
  }

  #reopen (): void {
    if (!this.#end) return
    this.#end = undefined
    this.#emit('reopened', this.#last, NOTHING)
  }

  #emit (kind: TopicItem['kind'], id: EventId, content: LogEntry | Buffer): void {
    this.#last = id
    // What comes after the end says by itself that the topic was open again; its next end is a new one.
    if (kind !== 'end') this.#end = undefined
    const item = new TopicItem({ kind, id, topic: this.topic, tag: this.tag, content, end: this.#end })
    for (const sink of this.#sinks) sink(item)
  }
}

/** Undefined for a topic that is open. */
function toTopicEnd ({ reason, message }: TopicEnds): TopicEnd | undefined {
  return reason && { reason, ...message !== undefined && { message } }
}

const NOTHING = Buffer.alloc(0)
