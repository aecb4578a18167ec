import { deferred } from '../common/deferred.ts'
import type { Deferred } from '../common/deferred.ts'
import { formatCursor } from './cursor.ts'
import type { EventId } from './event-id.ts'
import { encodeIdLine } from './frames.ts'
import type { TopicsObserver } from './observer.ts'
import type { TailBudget, Tailed } from './tail-budget.ts'
import type { TopicFollower, TopicItem, TopicSink } from './follower.ts'

/** What arrived in one turn of the event loop, as one Buffer shared by every reader. */
export interface Batch {
  /** Place in the feed: 0, 1, 2… */
  index: number
  frames: Buffer
  /** Events in it; gaps and ends do not count. */
  events: number
  /** The place after it. */
  place: FeedPlace
}

/** What a feed asks of its readers. */
export interface FeedReader {
  /** There is something new: take what there is room for, without waiting. */
  pump: () => void
}

/** A place between two batches, with everything a reader needs to join there. */
export interface FeedPlace {
  index: number
  positions: readonly EventId[]
  /** Topics that are closed; their ends come before this place. */
  closed: ReadonlySet<string>
  cursor: string
}

/** True when nothing comes after a place: every topic is closed. */
export function isFinished ({ closed, positions }: FeedPlace): boolean {
  return closed.size === positions.length
}

/** Bytes one feed may keep, what all keep together, and who hears of batches. */
export interface FeedInit { maxTailBytes: number, budget: TailBudget, observer: TopicsObserver }

/** Readers visited before the event loop gets a turn. */
const SLICE = 1_000

/**
 * One merged sequence over a set of topics, for all readers of the same set on this process. Each frame carries the
 * cursor after it. The newest batches stay in memory, up to `maxTailBytes`: the tail. Nothing here waits for a socket.
 */
export class Feed implements Tailed {
  /** Sorted. */
  readonly topics: readonly string[]
  readonly #followers: readonly TopicFollower[]
  readonly #sinks: TopicSink[] = []
  readonly #maxTailBytes: number
  readonly #budget: TailBudget
  readonly #observer: TopicsObserver
  readonly #readers = new Set<FeedReader>()
  readonly #positions: EventId[]
  readonly #closed = new Set<string>()
  #tail: Batch[] = []
  #tailBytes = 0
  #nextIndex = 0
  #pending: Buffer[] = []
  #pendingEvents = 0
  /** Time in the id of the first event that is pending. */
  #pendingMs = 0
  #moved: Deferred<void> | undefined
  #place: FeedPlace
  #isWalking = false
  #mustWalkAgain = false

  constructor (followers: readonly TopicFollower[], { maxTailBytes, budget, observer }: FeedInit) {
    this.topics = followers.map(follower => follower.topic)
    this.#followers = followers
    this.#maxTailBytes = maxTailBytes
    this.#budget = budget
    this.#observer = observer
    this.#positions = followers.map(follower => follower.last)
    for (const follower of followers) if (follower.isClosed) this.#closed.add(follower.topic)
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

  /** Compares topics with their log; settles when what was missing has its place here. For a reader that stands elsewhere. */
  async confirm (ats: readonly number[]): Promise<void> {
    await Promise.all(ats.map(at => this.#followers[at]!.confirm()))
    if (this.#pending.length > 0) {
      this.#moved ??= deferred()
      await this.#moved.promise
    }
  }

  /** Stops listening to the topics. */
  stop (): void {
    this.#budget.forget(this)
    this.#followers.forEach((follower, at) => follower.delete(this.#sinks[at]!))
  }

  #take (at: number, item: TopicItem): void {
    this.#positions[at] = item.id
    const topic = this.topics[at]!
    if (item.kind === 'end') this.#closed.add(topic)
    else this.#closed.delete(topic)
    if (item.kind === 'event' && this.#pendingEvents++ === 0) this.#pendingMs = item.id.ms
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    if (item.kind === 'reopened') this.#pending.push(item.body)
    else this.#pending.push(encodeIdLine(formatCursor(this.topics, this.#positions)), item.body)
  }

  #flush (): void {
    const frames = Buffer.concat(this.#pending)
    const index = this.#nextIndex++
    this.#place = this.#placeNow()
    this.#tail.push({ index, frames, events: this.#pendingEvents, place: this.#place })
    this.#observe(frames.length)
    this.#pending = []
    this.#pendingEvents = 0
    this.#tailBytes += frames.length
    this.#trimTo(this.#maxTailBytes)
    this.#budget.moved(this, this.#tailBytes)
    this.#fanOut()
    this.#moved?.settle()
    this.#moved = undefined
  }

  #observe (bytes: number): void {
    if (this.#pendingEvents === 0 || this.#readers.size === 0) return
    // The log's clock may be ahead of this one.
    this.#observer.onBatch({ events: this.#pendingEvents, bytes, lagMs: Math.max(0, Date.now() - this.#pendingMs) })
  }

  /** Keeps the newest batch only; readers further behind read the log. */
  shrink (): number {
    this.#trimTo(0)
    return this.#tailBytes
  }

  /** The newest batch always stays, or its readers would have to read from the log what has just come. */
  #trimTo (maxBytes: number): void {
    let drop = 0
    while (this.#tailBytes > maxBytes && drop < this.#tail.length - 1) this.#tailBytes -= this.#tail[drop++]!.frames.length
    if (drop > 0) this.#tail = this.#tail.slice(drop)
  }

  #placeNow (): FeedPlace {
    return { index: this.#nextIndex, positions: [...this.#positions], closed: new Set(this.#closed), cursor: formatCursor(this.topics, this.#positions) }
  }

  #fanOut (): void {
    this.#mustWalkAgain = this.#isWalking
    if (this.#isWalking) return
    this.#isWalking = true
    this.#walk(this.#readers.values())
  }

  /** Visits the readers in slices; a reader met later simply takes more. */
  #walk (readers: Iterator<FeedReader>): void {
    for (let visited = 0; visited < SLICE; visited++) {
      const { done, value } = readers.next()
      if (done) return this.#walked()
      value.pump()
    }
    setImmediate(() => this.#walk(readers))
  }

  #walked (): void {
    this.#isWalking = false
    if (this.#mustWalkAgain) this.#fanOut()
  }
}
