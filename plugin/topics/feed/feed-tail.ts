import type { Gap } from '../../common/in-band.ts'
import { memoryOf } from '../../reply/frame.ts'
import type { Frame } from '../../reply/frame.ts'
import type { EventId } from '../ids/event-id.ts'
import type { TopicEnd } from '../log/lease.ts'

/** Everything that arrived in one tick, as one frame shared by all readers. */
export interface Batch {
  /** Index in the feed: 0, 1, 2… */
  index: number
  /** Empty if nothing is sent for it, as when a topic was reopened. Gaps and ends do not count as events. */
  frame: Frame
  /** Its memory, as far as the feed knows. */
  bytes: number
  /** The place in the feed after it. */
  place: FeedPlace
  /** A gap in it that the frame does not report, in a feed without control events. */
  gap: Gap | undefined
}

/** A place between two batches, with everything that a reader needs to join there. */
export interface FeedPlace {
  index: number
  positions: readonly EventId[]
  /** Topics that are closed; their ends come before this place. */
  closed: ReadonlyMap<string, TopicEnd>
  cursor: string
}

/** True if nothing follows a place, because every topic is closed. */
export function isFinished ({ closed, positions }: FeedPlace): boolean {
  return closed.size === positions.length
}

/** More batches are not kept, whatever their bytes: each one also has a place, and its frame may be empty. */
const MAX_BATCHES = 4_096

/** The newest batches of a feed. */
export class FeedTail {
  #batches: Batch[] = []
  #bytes = 0
  #nextIndex = 0

  /** The index of the next batch. */
  get nextIndex (): number { return this.#nextIndex }

  get bytes (): number { return this.#bytes }

  /** The batch with this index; undefined if it was dropped or does not exist yet. */
  batch (index: number): Batch | undefined {
    return this.#batches[index - this.#nextIndex + this.#batches.length]
  }

  /** True if everything from this index on is in memory. */
  holds (index: number): boolean { return index >= this.#nextIndex - this.#batches.length }

  /** Its index must be `nextIndex`. */
  push (batch: Batch): void {
    this.#batches.push(batch)
    this.#bytes += batch.bytes
    this.#nextIndex++
  }

  /** Measures a batch again, because its frame may have been compressed since. */
  weigh (batch: Batch): void {
    this.#bytes -= batch.bytes
    this.#bytes += batch.bytes = memoryOf(batch.frame)
  }

  /** Drops the oldest batches until at most this many bytes, or this many batches, remain; of 0 bytes, none remain. */
  dropTo (maxBytes: number, minBatches: number): void {
    const maxBatches = maxBytes === 0 ? 0 : MAX_BATCHES
    const count = this.#batches.length
    let drop = 0
    while ((this.#bytes > maxBytes || count - drop > maxBatches) && drop < count - minBatches) {
      this.#bytes -= this.#batches[drop++]!.bytes
    }
    if (drop > 0) this.#batches = this.#batches.slice(drop)
  }
}
