import type { Frame, FrameSink } from '../reply/frame.ts'
import { formatCursor, formatPosition } from './cursor.ts'
import { formatEventId, isBefore, isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import { isFinished } from './feed.ts'
import type { Feed, FeedPlace, FeedReader } from './feed.ts'
import { endsFrame, gapFrame, joinFrames, openFrame, sliceEntries } from './frames.ts'
import type { Slice } from './frames.ts'
import type { Hub, Trailing } from './hub.ts'
import { retryUntilAvailable, pause } from './retry.ts'
import type { Page, PageEntry } from './pages.ts'
import { describeGap, resume } from './resume.ts'
import type { Gap } from '../common/in-band.ts'
import type { TopicStart } from './start.ts'

export interface ReaderInit {
  hub: Hub
  feed: Feed
  sink: FrameSink
  starts: readonly TopicStart[]
}

/**
 * One client: a cursor over the log and a stream. There is no live mode and no replay mode; it writes forward while the
 * stream has room.
 *
 * ```
 *   open ─▶ catch up: each topic's log, from the cursor to a place of the feed ─▶ joined: batch after batch of the feed
 *              ▲                                                                        │
 *              └──────────── the tail no longer holds the next batch ◀──────────────────┘
 * ```
 *
 * A slow client costs its place only: when the stream is full nothing is queued here, and it goes on when there is
 * room.
 */
export class Reader implements FeedReader, Trailing {
  readonly #hub: Hub
  readonly #feed: Feed
  readonly #sink: FrameSink
  #positions: EventId[]
  readonly #starts: readonly TopicStart[]
  /** Topics whose end the client was sent, and nothing after it. */
  #ended: ReadonlySet<string> = new Set()
  #nextIndex = 0
  /** Where the reader is in its feed; undefined while it reads the log. */
  #place: FeedPlace | undefined
  #isWaiting = false
  #onFallen: (() => void) | undefined
  #onFailed: ((error: unknown) => void) | undefined
  readonly #over: Promise<void>

  constructor ({ hub, feed, sink, starts }: ReaderInit) {
    this.#hub = hub
    this.#feed = feed
    this.#sink = sink
    this.#starts = starts
    this.#positions = starts.map(start => start.position)
    this.#over = sink.closed.then(() => { this.#onFallen?.() })
  }

  /** Counted by the numbers of the events: after a failover, numbers that were skipped count as well. */
  get behind (): number {
    const own = this.#place?.positions ?? this.#positions
    return this.#feed.place.positions.reduce((sum, { n }, at) => sum + Math.max(0, n - own[at]!.n), 0)
  }

  /** Streams until the stream is over. Rejects with what the log rejects with. */
  run (): Promise<void> {
    return this.#hub.trail(this.#sink, this, this.#run())
  }

  async #run (): Promise<void> {
    await this.#open()
    while (this.#sink.isOpen) {
      await this.#hub.lag(this.#catchUp())
      if (this.#sink.isOpen) await this.#follow()
    }
  }

  /** Called by the feed when there is something new, and by itself when there is room again. */
  pump (): void {
    while (this.#sink.isOpen && !this.#isWaiting) {
      const batch = this.#feed.batch(this.#nextIndex)
      if (!batch) {
        if (!this.#feed.holds(this.#nextIndex)) this.#onFallen?.()
        return
      }
      if (this.#sink.isFull) return this.#waitForRoom()
      if (batch.frame.bytes.length > 0 && !this.#sink.write(batch.frame)) return
      this.#nextIndex = batch.index + 1
      this.#place = batch.place
      if (isFinished(batch.place)) this.#sink.end()
    }
  }

  /** The stream ends with this error. */
  fail (error: unknown): void {
    this.#onFailed?.(error)
  }

  async #open (): Promise<void> {
    const gaps = this.#starts.flatMap(start => start.gap ? [start.gap] : [])
    const cursor = formatCursor(this.#feed.tags, this.#starts.map(({ position, sent }) => sent ?? position))
    await this.#send(gaps.length === 0 ? openFrame(cursor) : openWithGaps(gaps, cursor))
  }

  /**
   * Reads each topic's log from the cursor up to the feed's place of that moment, and joins there once both stand at
   * the same place. Where they do not, one of them has seen more: the client elsewhere, or the reader a gap that the
   * feed has not come to. Then the feed looks at the log, too.
   */
  async #catchUp (): Promise<void> {
    let resynced = -1
    while (this.#sink.isOpen) {
      const place = this.#feed.place
      for (let at = 0; at < this.#positions.length; at++) await this.#readTopic(at, place.positions[at]!)
      const differing = this.#differingFrom(place)
      const isAhead = differing.some(at => isBefore(place.positions[at]!, this.#positions[at]!))
      // Told by the log itself that nothing lies between, although the ids differ: a position before the first entry.
      const mayJoin = differing.length === 0 || (resynced === place.index && !isAhead)
      if (mayJoin && this.#feed.holds(place.index)) return this.#join(place)
      if (resynced === place.index) await this.#reportLost(differing)
      resynced = place.index
      if (differing.length > 0) await Promise.race([this.#feed.resync(differing), this.#over])
    }
  }

  /**
   * The log has nothing new for the feed, and the reader is still ahead of it: the log may have lost what the client
   * has.
   */
  async #reportLost (ats: readonly number[]): Promise<void> {
    await pause()
    for (const at of ats) await this.#toldGap(at)
  }

  #differingFrom (place: FeedPlace): number[] {
    return this.#positions.flatMap((position, at) => isSameEventId(position, place.positions[at]!) ? [] : [at])
  }

  async #join (place: FeedPlace): Promise<void> {
    this.#nextIndex = place.index
    this.#place = place
    await this.#tellEnds(place)
  }

  /**
   * Reads one page after the other, each when there is room for it: nothing is held for a client that cannot take it.
   */
  async #readTopic (at: number, target: EventId): Promise<void> {
    while (isBefore(this.#positions[at]!, target) && (await this.#sink.room())) {
      const page = await this.#ask(at, () =>
        this.#hub.pages.read(this.#feed.topics[at]!, this.#positions[at]!, this.#feed.encode)
      )
      if (!page) return
      if (!page.follows(this.#positions[at]!) && await this.#toldGap(at)) continue
      const wanted = page.upTo(target)
      // Nothing to read up to a target that is not reached: the feed is about to tell why, as a gap.
      if (wanted.length === 0) return
      this.#reopen(this.#feed.topics[at]!)
      for (const { frame, last } of this.#slicesOf(at, page, wanted)) {
        if (!await this.#send(frame)) return
        this.#positions[at] = last.id
      }
    }
  }

  #slicesOf (at: number, page: Page, wanted: readonly PageEntry[]): Iterable<Slice<PageEntry>> {
    if (this.#positions.length === 1 && wanted === page.entries) return page.slices
    const { tags } = this.#feed
    const parts = this.#positions.map((position, index) => formatPosition(tags[index]!, position))
    return sliceEntries(wanted, ({ id }) =>
      tags.length === 1 ? formatEventId(id) : parts.with(at, formatPosition(tags[at]!, id)).join(',')
    )
  }

  /** Asks the log how the cursor stands; when events are gone the client is told. False when none are. */
  async #toldGap (at: number): Promise<boolean> {
    const topic = this.#feed.topics[at]!
    const after = this.#positions[at]!
    const found = await this.#ask(at, () => this.#hub.log.locate(topic, after))
    if (!found) return false
    const { position, gap } = resume(after, found)
    if (!gap) return false
    const told = describeGap(topic, formatEventId(after), { position, gap }, found)
    this.#hub.observer.onGap(gap.reason)
    this.#positions[at] = position
    return this.#send(gapFrame(told, formatCursor(this.#feed.tags, this.#positions)))
  }

  /** Undefined when the stream is over; while the log is away the stream stays open and its heartbeats go on. */
  #ask<T>(at: number, question: () => Promise<T>): Promise<T | undefined> {
    return retryUntilAvailable(
      question,
      () => !this.#sink.isOpen,
      error => this.#hub.onTrouble(this.#feed.topics[at]!, error)
    )
  }

  /** Takes what the feed brings; settles when the reader has fallen behind the tail, or the stream is over. */
  async #follow (): Promise<void> {
    const fallen = new Promise<void>((resolve, reject) => {
      this.#onFallen = resolve
      this.#onFailed = reject
    })
    this.#feed.add(this)
    try {
      this.pump()
      await fallen
    } finally {
      this.#feed.delete(this)
    }
    this.#leave(this.#place!)
  }

  /** Settles true when the frame was written, false when the sink is over. */
  async #send (frame: Frame): Promise<boolean> {
    // Others may write to the same stream: the room may be gone again.
    while (await this.#sink.room()) if (!this.#sink.isFull) return this.#sink.write(frame)
    return false
  }

  #waitForRoom (): void {
    this.#isWaiting = true
    void this.#hub.lag(this.#sink.room()).then(() => {
      this.#isWaiting = false
      this.pump()
    })
  }

  /** Reading the log again begins where the reader was in its feed. */
  #leave ({ positions, closed }: FeedPlace): void {
    this.#positions = [...positions]
    this.#ended = new Set(closed.keys())
    this.#place = undefined
  }

  /** A topic with events after its end was open again: its next end is a new one. */
  #reopen (topic: string): void {
    if (this.#ended.has(topic)) this.#ended = new Set([...this.#ended].filter(ended => ended !== topic))
  }

  /** Reports the topics that were closed before the reader joined; the feed reports those that close later. */
  async #tellEnds (place: FeedPlace): Promise<void> {
    const untold = [...place.closed].filter(([topic]) => !this.#ended.has(topic))
    if (untold.length > 0) await this.#send(endsFrame(untold, place.cursor))
    if (isFinished(place)) this.#sink.end()
  }
}

/** With a gap the client keeps its own cursor until it has been told all of it. */
function openWithGaps (gaps: readonly Gap[], cursor: string): Frame {
  const told = gaps.map((gap, at) => gapFrame(gap, at === gaps.length - 1 ? cursor : undefined))
  return joinFrames([openFrame(undefined), ...told])
}
