import type { Frame } from '../reply/frame.ts'
import { deferred } from '../common/deferred.ts'
import type { Deferred } from '../common/deferred.ts'
import { formatPosition } from './cursor.ts'
import { formatEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { TopicEnd } from './log/lease.ts'
import { encodeIdLine } from './frames.ts'
import type { EncodeEntry } from './frames.ts'
import type { TopicsObserver } from './observer.ts'
import type { TailBudget, Tailed } from './tail-budget.ts'
import type { TopicFollower, TopicItem, TopicSink } from './follower.ts'

/** What arrived together, as one frame shared by every reader. */
export interface Batch {
  /** Place in the feed: 0, 1, 2… */
  index: number
  /** Empty when nothing of it is sent, as for a topic that was reopened. Gaps and ends do not count as events. */
  frame: Frame
  /** The place after it. */
  place: FeedPlace
}

/** What a feed asks of its readers. */
export interface FeedReader {
  /** There is something new: take what there is room for, without waiting. */
  pump: () => void
  /** `pump` threw. */
  fail: (error: unknown) => void
}

/** A place between two batches, with everything a reader needs to join there. */
export interface FeedPlace {
  index: number
  positions: readonly EventId[]
  /** Topics that are closed; their ends come before this place. */
  closed: ReadonlyMap<string, TopicEnd>
  cursor: string
}

/** True when nothing comes after a place: every topic is closed. */
export function isFinished ({ closed, positions }: FeedPlace): boolean {
  return closed.size === positions.length
}

export interface FeedInit {
  /** Bytes that this feed may keep. */
  maxTailBytes: number
  /** What all feeds keep together. */
  budget: TailBudget
  /** Where all feeds wait for their turn. */
  queue: FlushQueue
  observer: TopicsObserver
  encode: EncodeEntry
}

/** Bytes on the wire of one batch: what a reader writes at once to a client that has room. */
const MAX_BATCH_BYTES = 64 * 1024

/** Readers visited before the event loop gets a turn. */
const SLICE = 1_000

/**
 * One merged sequence over a set of topics, for all readers of the same set on this process. Each frame carries the
 * cursor after it. The newest batches stay in memory, up to `maxTailBytes`: the tail. Nothing here waits for a socket.
 */
export class Feed implements Tailed {
  /** Sorted. */
  readonly topics: readonly string[]
  readonly tags: readonly string[]
  /** How its events are written. */
  readonly encode: EncodeEntry
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
  readonly #closed = new Map<string, TopicEnd>()
  #tail: Batch[] = []
  #tailBytes = 0
  #nextIndex = 0
  #pending: { at: number, item: TopicItem }[] = []
  #isStopped = false
  #moved: Deferred<void> | undefined
  #place: FeedPlace
  #isWalking = false
  #mustWalkAgain = false

  constructor (followers: readonly TopicFollower[], { maxTailBytes, budget, queue, observer, encode }: FeedInit) {
    this.topics = followers.map(follower => follower.topic)
    this.tags = followers.map(follower => follower.tag)
    this.encode = encode
    this.#followers = followers
    this.#maxTailBytes = maxTailBytes
    this.#budget = budget
    this.#observer = observer
    this.#queue = queue
    this.#positions = followers.map(follower => follower.last)
    this.#parts = followers.map(({ tag, last }) => formatPosition(tag, last))
    for (const { topic, end } of followers) if (end) this.#closed.set(topic, end)
    this.#place = this.#placeNow()
    followers.forEach((follower, at) => {
      const sink: TopicSink = item => this.#take(at, item)
      this.#sinks.push(sink)
      follower.add(sink)
    })
  }

  /** The place after the newest batch. */
  get place (): FeedPlace { return this.#place }

  get tailBytes (): number { return this.#tailBytes }

  /** The batch at an index; undefined when it has left the tail, or is not there yet. */
  batch (index: number): Batch | undefined {
    const oldest = this.#nextIndex - this.#tail.length
    return this.#tail[index - oldest]
  }

  /** True when everything from this index on is in memory. */
  holds (index: number): boolean {
    return index >= this.#nextIndex - this.#tail.length
  }

  add (reader: FeedReader): void { this.#readers.add(reader) }
  delete (reader: FeedReader): void { this.#readers.delete(reader) }

  /**
   * Compares topics with their log; settles when what was missing has its place here. For a reader that is elsewhere.
   */
  async resync (ats: readonly number[]): Promise<void> {
    await Promise.all(ats.map(at => this.#followers[at]!.resync()))
    if (this.#pending.length > 0) {
      this.#moved ??= deferred()
      await this.#moved.promise
    }
  }

  /** Stops listening to the topics; what is pending has no readers any more. */
  stop (): void {
    this.#isStopped = true
    this.#pending = []
    this.#queue.delete(this)
    this.#moved?.settle()
    this.#budget.forget(this)
    this.#followers.forEach((follower, at) => follower.delete(this.#sinks[at]!))
  }

  #take (at: number, item: TopicItem): void {
    if (this.#pending.length === 0) this.#queue.add(this)
    this.#pending.push({ at, item })
  }

  /** Makes one batch of what is pending, bounded in bytes, and passes it on; true when more is pending. */
  flush (): boolean {
    const { frame, firstMs } = this.#encodePending()
    const index = this.#nextIndex++
    this.#place = this.#placeNow()
    this.#tail.push({ index, frame, place: this.#place })
    this.#tailBytes += frame.bytes.length
    if (frame.events > 0 && this.#readers.size > 0) this.#observe(frame, firstMs)
    this.#fanOut()
    if (this.#isWalking) this.#trim()
    if (this.#pending.length > 0) return true
    this.#moved?.settle()
    this.#moved = undefined
    return false
  }

  #encodePending (): { frame: Frame, firstMs: number } {
    const parts: Buffer[] = []
    let events = 0
    let firstMs = 0
    let bytes = 0
    let taken = 0
    for (; taken < this.#pending.length && bytes < MAX_BATCH_BYTES; taken++) {
      const { at, item } = this.#pending[taken]!
      this.#apply(at, item)
      if (item.kind === 'event' && events++ === 0) firstMs = item.id.ms
      if (item.kind === 'reopened') continue
      const idLine = encodeIdLine(this.#cursor)
      const body = item.body(this.encode)
      parts.push(idLine, body)
      bytes += idLine.length + body.length
    }
    this.#pending = this.#pending.slice(taken)
    return { frame: { bytes: Buffer.concat(parts), events }, firstMs }
  }

  #apply (at: number, item: TopicItem): void {
    this.#positions[at] = item.id
    this.#parts[at] = item.position
    if (item.end) this.#closed.set(this.topics[at]!, item.end)
    else this.#closed.delete(this.topics[at]!)
  }

  get #cursor (): string {
    return this.topics.length === 1 ? formatEventId(this.#positions[0]!) : this.#parts.join(',')
  }

  #observe ({ events, bytes }: Frame, firstMs: number): void {
    // The log's clock may be ahead of this one.
    this.#observer.onBatch({ events, bytes: bytes.length, lagMs: Math.max(0, Date.now() - firstMs) })
  }

  /** Keeps nothing; readers that are behind read the log. Returns the bytes that remain. */
  shrink (): number {
    this.#dropTo(0, 0)
    return this.#tailBytes
  }

  /**
   * The newest batch stays while readers are still being visited, or they would read from the log what has just
   * arrived.
   */
  #trim (): void {
    if (this.#isStopped) return
    this.#dropTo(this.#maxTailBytes, this.#isWalking ? 1 : 0)
    this.#budget.moved(this, this.#tailBytes)
  }

  #dropTo (maxBytes: number, minBatches: number): void {
    let drop = 0
    while (this.#tailBytes > maxBytes && drop < this.#tail.length - minBatches) {
      this.#tailBytes -= this.#tail[drop++]!.frame.bytes.length
    }
    if (drop > 0) this.#tail = this.#tail.slice(drop)
  }

  #placeNow (): FeedPlace {
    return {
      index: this.#nextIndex,
      positions: [...this.#positions],
      closed: new Map(this.#closed),
      cursor: this.#cursor
    }
  }

  #fanOut (): void {
    this.#mustWalkAgain = this.#isWalking
    if (this.#isWalking) return
    this.#isWalking = true
    this.#walk(this.#readers.values())
  }

  /** Visits the readers in slices; a reader that is visited later simply takes more. */
  #walk (readers: Iterator<FeedReader>): void {
    for (let visited = 0; visited < SLICE; visited++) {
      const { done, value } = readers.next()
      if (done) return this.#walked()
      pump(value)
    }
    setImmediate(() => this.#walk(readers))
  }

  #walked (): void {
    this.#isWalking = false
    if (this.#mustWalkAgain) this.#fanOut()
    else this.#trim()
  }
}

/** One reader that fails does not keep the others from what is new. */
function pump (reader: FeedReader): void {
  try {
    reader.pump()
  } catch (error) {
    reader.fail(error)
  }
}
