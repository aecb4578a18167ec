import type { Gap } from '../../common/in-band.ts'
import { createFrame, sizeOf } from '../../reply/frame.ts'
import type { Frame, Part } from '../../reply/frame.ts'
import { deferred } from '../../common/deferred.ts'
import type { Deferred } from '../../common/deferred.ts'
import { formatPosition } from '../ids/cursor.ts'
import { formatEventId } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { TopicEnd } from '../log/lease.ts'
import { idLineOf } from './frames.ts'
import type { EventFormat } from './frames.ts'
import type { TopicsObserver } from '../observer.ts'
import { FeedTail } from './feed-tail.ts'
import type { Batch, FeedPlace } from './feed-tail.ts'
import type { TailBudget, Tailed } from './tail-budget.ts'
import type { TopicFollower } from './follower.ts'
import type { TopicItem, TopicSink } from './topic-item.ts'

/** The interface that a feed requires of its readers. */
export interface FeedReader {
  /**
   * Something is new: the reader writes as much as there is room for, without waiting. Returns true if everything was
   * written.
   */
  pump: () => boolean
  /** `pump` threw. */
  fail: (error: unknown) => void
}

export interface FeedInit {
  /** Bytes that this feed may keep. */
  maxTailBytes: number
  /** The budget that all feeds share. */
  budget: TailBudget
  /** The queue in which all feeds wait for their turn. */
  queue: FlushQueue
  observer: TopicsObserver
  format: EventFormat
}

/** Maximum bytes of one batch on the wire: the amount that a reader writes at once to a client that has room. */
const MAX_BATCH_BYTES = 64 * 1024

/** Number of readers visited without a pause, which takes a few ms. */
const SLICE = 250
/** For the only reader of a feed, parts of up to this many bytes are cheaper to copy than to write separately. */
const COPY_BYTES = 16 * 1024

/**
 * One merged sequence over a set of topics, for all readers of that set in this process. Each frame carries the cursor
 * after it. The newest batches stay in memory, up to `maxTailBytes`: the tail. Nothing here waits for a socket.
 */
export class Feed implements Tailed {
  /** Sorted. */
  readonly topics: readonly string[]
  readonly tags: readonly string[]
  /** How its events are encoded. */
  readonly format: EventFormat
  readonly #followers: readonly TopicFollower[]
  readonly #sinks: TopicSink[] = []
  readonly #maxTailBytes: number
  readonly #budget: TailBudget
  readonly #queue: FlushQueue
  readonly #observer: TopicsObserver
  readonly #readers = new Set<FeedReader>()
  readonly #positions: EventId[]
  /** The positions as parts of a cursor. */
  readonly #parts: string[]
  /** Never changed, only replaced, because places share it. */
  #closed: ReadonlyMap<string, TopicEnd>
  readonly #tail = new FeedTail()
  #pending: { at: number, item: TopicItem }[] = []
  #isStopped = false
  #moved: Deferred<void> | undefined
  #place: FeedPlace
  /** The readers that have not been offered the newest batches yet. */
  #walk: Iterator<FeedReader> | undefined
  /** True while every reader visited so far has written everything. */
  #isTaken = true
  /** The number of users of the feed, including readers that have not joined yet. */
  users = 0

  constructor (followers: readonly TopicFollower[], { maxTailBytes, budget, queue, observer, format }: FeedInit) {
    this.topics = followers.map(follower => follower.topic)
    this.tags = followers.map(follower => follower.tag)
    this.format = format
    this.#followers = followers
    this.#maxTailBytes = maxTailBytes
    this.#budget = budget
    this.#observer = observer
    this.#queue = queue
    this.#positions = followers.map(follower => follower.last)
    this.#parts = followers.map(({ tag, last }) => formatPosition(tag, last))
    this.#closed = new Map(followers.flatMap(({ topic, end }) => end ? [[topic, end]] : []))
    this.#place = this.#placeNow(this.#cursor, 0)
    followers.forEach((follower, at) => {
      const sink: TopicSink = item => this.#take(at, item)
      this.#sinks.push(sink)
      follower.add(sink)
    })
  }

  /** The place after the newest batch. */
  get place (): FeedPlace { return this.#place }

  get tailBytes (): number { return this.#tail.bytes }

  /** The batch with this index; undefined if it has left the tail or does not exist yet. */
  batch (index: number): Batch | undefined { return this.#tail.batch(index) }

  /** True if everything from this index on is in memory. */
  holds (index: number): boolean { return this.#tail.holds(index) }

  /** Must be called after a batch of the tail was written, because its frame may have been compressed for that. */
  weigh (batch: Batch): void { this.#tail.weigh(batch) }

  add (reader: FeedReader): void { this.#readers.add(reader) }
  delete (reader: FeedReader): void { this.#readers.delete(reader) }

  /**
   * Resyncs topics with the log; settles when everything that was missing is in this feed. Called by a reader at a
   * different position.
   */
  async resync (ats: readonly number[]): Promise<void> {
    await Promise.all(ats.map(at => this.#followers[at]!.resync()))
    if (this.#pending.length > 0) {
      this.#moved ??= deferred()
      await this.#moved.promise
    }
  }

  /** Stops listening to the topics; whatever is pending has no readers any more. */
  stop (): void {
    this.#isStopped = true
    this.#pending = []
    this.#walk = undefined
    this.#queue.delete(this)
    this.#moved?.settle()
    this.#budget.forget(this)
    this.#followers.forEach((follower, at) => follower.delete(this.#sinks[at]!))
  }

  #take (at: number, item: TopicItem): void {
    if (this.#pending.length === 0) this.#queue.add(this)
    this.#pending.push({ at, item })
  }

  /**
   * Builds one batch of limited size from the pending items, and offers it to the readers, some at a time; returns true
   * if there is more to do.
   */
  flush (): boolean {
    if (!this.#walk) this.#makeBatch()
    this.#visitSome(this.#walk!)
    return this.#walk !== undefined || this.#pending.length > 0
  }

  #makeBatch (): void {
    const { frame, gap, firstMs, cursor } = this.#encodePending()
    const index = this.#tail.nextIndex
    this.#place = this.#placeNow(cursor, index + 1)
    this.#tail.push({ index, frame, bytes: sizeOf(frame), gap, place: this.#place })
    if (frame.events > 0 && this.#readers.size > 0) this.#observe(frame, firstMs)
    this.#isTaken = true
    this.#walk = this.#readers.values()
    if (this.#pending.length > 0) return
    this.#moved?.settle()
    this.#moved = undefined
  }

  #encodePending (): { frame: Frame, gap: Gap | undefined, firstMs: number, cursor: string } {
    const parts: Part[] = []
    let cursor = ''
    let events = 0
    let firstMs = 0
    let gap: Gap | undefined
    let bytes = 0
    let taken = 0
    for (; taken < this.#pending.length && bytes < MAX_BATCH_BYTES; taken++) {
      const { at, item } = this.#pending[taken]!
      this.#apply(at, item)
      cursor = this.#cursor
      if (item.kind === 'event' && events++ === 0) firstMs = item.id.ms
      if (item.kind === 'reopened') continue
      if (item.kind !== 'event' && !this.format.hasControl) {
        gap ??= item.gap
        continue
      }
      const idLine = idLineOf(cursor)
      const body = item.body(this.format)
      parts.push(idLine, body)
      bytes += idLine.length + body.length
    }
    this.#pending = taken === this.#pending.length ? [] : this.#pending.slice(taken)
    // A frame for a single reader shares its large bodies with other feeds; a frame for several readers is copied into
    // one buffer.
    const frame = createFrame(parts, events, this.#readers.size > 1 ? Infinity : COPY_BYTES)
    return { frame, gap, firstMs, cursor }
  }

  #apply (at: number, item: TopicItem): void {
    const topic = this.topics[at]!
    this.#positions[at] = item.id
    this.#parts[at] = item.position
    if (item.end) this.#closed = new Map([...this.#closed, [topic, item.end]])
    else if (this.#closed.has(topic)) this.#closed = new Map([...this.#closed].filter(([closed]) => closed !== topic))
  }

  get #cursor (): string {
    return this.topics.length === 1 ? formatEventId(this.#positions[0]!) : this.#parts.join(',')
  }

  #observe (frame: Frame, firstMs: number): void {
    // The log's clock may be ahead of this one.
    this.#observer.onBatch({ events: frame.events, bytes: sizeOf(frame), lagMs: Math.max(0, Date.now() - firstMs) })
  }

  /** Drops the tail; readers that are behind read the log. */
  drop (): void { this.#tail.dropTo(0, 0) }

  /**
   * The newest batch stays while readers are still being visited, or they would read from the log what has just
   * arrived. Batches that all users of the feed have written are not needed any more.
   */
  #trim (): void {
    if (!this.#walk && this.#isTaken && this.#readers.size === this.users) this.#tail.dropTo(0, 0)
    else this.#tail.dropTo(this.#maxTailBytes, this.#walk ? 1 : 0)
    this.#budget.moved(this, this.#tail.bytes)
  }

  #placeNow (cursor: string, index: number): FeedPlace {
    return { index, positions: [...this.#positions], closed: this.#closed, cursor }
  }

  /** A reader that is visited later simply writes more at once. */
  #visitSome (readers: Iterator<FeedReader>): void {
    for (let visited = 0; visited < SLICE; visited++) {
      const { done, value } = readers.next()
      if (done) {
        this.#walk = undefined
        break
      }
      if (!pump(value)) this.#isTaken = false
    }
    if (!this.#isStopped) this.#trim()
  }
}

/** One failing reader must not keep the others from receiving new events. */
function pump (reader: FeedReader): boolean {
  try {
    return reader.pump()
  } catch (error) {
    reader.fail(error)
    return false
  }
}
