import { formatPosition, topicTag } from './cursor.ts'
import { errors } from './errors.ts'
import { compareEventIds, formatEventId, isBefore, ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import { endBody, gapBody } from './frames.ts'
import type { EncodeEntry } from './frames.ts'
import type { LogEntry, TopicEnds, TopicListener, TopicLog } from './log/topic-log.ts'
import type { TopicsObserver } from './observer.ts'
import { retryUntilAvailable } from './retry.ts'
import { describeGap, endOf, isNext, resume } from './resume.ts'

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
  readonly #topic: string
  readonly #content: LogEntry | Buffer
  readonly #bodies = new Map<EncodeEntry, Buffer>()

  /** An event is given as the log has it, anything else as its body. */
  constructor ({
    kind,
    id,
    topic,
    tag,
    content
  }: {
    kind: TopicItem['kind']
    id: EventId
    topic: string
    tag: string
    content: LogEntry | Buffer
  }) {
    this.kind = kind
    this.id = id
    this.position = formatPosition(tag, id)
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
  observer: TopicsObserver
}

const PAGE = { count: 500, bytes: 1024 * 1024 }

/**
 * Follows one topic for this whole process. What the log tells may repeat, and may have holes where a connection was
 * lost; what the sinks hear does not:
 *
 * ```
 *   n == last + 1          taken
 *   id <= last             a repeat, dropped
 *   anything else          one resync: the log is read from `last` on, and what arrives meanwhile waits for its turn there
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
  #isClosed = false
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
  get isClosed (): boolean { return this.#isClosed }

  async start (): Promise<void> {
    const ends = await this.#log.follow(this.topic, this)
    this.#last = endOf(ends)
    this.#expireAfterMs = ends.expireAfterMs
    this.#comparedMs = ends.nowMs
    this.#isClosed = ends.isClosed
    this.#isStarted = true
    // Something came between the log's answer and this line.
    if (this.#mustResync) this.onDoubt()
  }

  /** Gives up a resync that waits for the log. */
  stop (): void {
    this.#isStopped = true
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
    if (ends.isClosed) this.#close()
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

  #close (): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#emit('end', this.#last, endBody(this.topic))
  }

  #reopen (): void {
    if (!this.#isClosed) return
    this.#isClosed = false
    this.#emit('reopened', this.#last, NOTHING)
  }

  #emit (kind: TopicItem['kind'], id: EventId, content: LogEntry | Buffer): void {
    this.#last = id
    // What comes after the end says by itself that the topic was open again; its next end is a new one.
    if (kind !== 'end') this.#isClosed = false
    const item = new TopicItem({ kind, id, topic: this.topic, tag: this.tag, content })
    for (const sink of this.#sinks) sink(item)
  }
}

const NOTHING = Buffer.alloc(0)
