import { sizeOf } from '../../reply/frame.ts'
import type { Frame, FrameSink } from '../../reply/frame.ts'
import type { RunListener } from '../../reply/source.ts'
import { formatCursor, surroundingsOf } from '../ids/cursor.ts'
import { errors } from '../errors.ts'
import { formatEventId, isBefore, isSameEventId } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import type { Feed, FeedReader } from '../feed/feed.ts'
import type { Control } from './control.ts'
import type { Slice } from '../feed/frames.ts'
import type { Hub, Trailing } from '../feed/hub.ts'
import { retryUntilAvailable, pause } from '../retry.ts'
import { sliceAlone, sliceWithin } from './page.ts'
import type { Page, PageEntry } from './page.ts'
import { describeGap, resume } from '../ids/resume.ts'
import type { TopicStart } from './start.ts'
import { isFinished } from '../feed/feed-tail.ts'
import type { FeedPlace } from '../feed/feed-tail.ts'

export interface ReaderInit {
  hub: Hub
  feed: Feed
  sink: FrameSink
  control: Control
  starts: readonly TopicStart[]
}

const NONE: ReadonlySet<string> = new Set()
const NO_STARTS: readonly TopicStart[] = []
const NO_POSITIONS: EventId[] = []

/**
 * One client: a cursor into the log, and a stream. There are no separate live and replay modes; the reader moves
 * forward while the stream has room.
 *
 * ```
 *   open ─▶ catch up: each topic's log, from the cursor to a place of the feed ─▶ joined: batch after batch of the feed
 *              ▲                                                                        │
 *              └──────────── the tail no longer holds the next batch ◀──────────────────┘
 * ```
 *
 * A slow client costs nothing but its place: when the stream is full nothing is queued here, and the reader continues
 * when there is room.
 */
export class Reader implements FeedReader, Trailing {
  readonly #hub: Hub
  readonly #feed: Feed
  readonly #sink: FrameSink
  readonly #control: Control
  /** Where it is in each topic, while it reads the log. */
  #positions: EventId[]
  /** Empty once the first frame has sent the client its start. */
  #starts: readonly TopicStart[]
  /** Topics whose end was sent to the client, with no event after it. */
  #ended: ReadonlySet<string> = NONE
  #nextIndex = 0
  /** The reader's place in its feed; undefined while it reads the log. */
  #place: FeedPlace | undefined
  #isWaiting = false
  #isFollowing = false
  #listener: RunListener | undefined

  constructor ({ hub, feed, sink, control, starts }: ReaderInit) {
    this.#hub = hub
    this.#feed = feed
    this.#sink = sink
    this.#control = control
    this.#starts = starts
    this.#positions = starts.map(start => start.position)
    sink.whenClosed(() => this.#stop())
  }

  /** Calculated from the numbers of the events: after a failover, skipped numbers count as well. */
  get behind (): number {
    const own = this.#place?.positions ?? this.#positions
    return this.#feed.place.positions.reduce((sum, { n }, at) => sum + Math.max(0, n - own[at]!.n), 0)
  }

  /** Streams until the stream is over. The listener is notified of an error of the log. */
  start (listener: RunListener): void {
    this.#listener = listener
    this.#hub.trail(this.#sink, this)
    void this.#begin()
  }

  /** As `start()`; settles when the stream is over, and rejects with what the log rejects with. */
  run (): Promise<void> {
    return new Promise((resolve, reject) => {
      this.start({ sourceFailed: reject })
      this.#sink.whenClosed(resolve)
    })
  }

  async #begin (): Promise<void> {
    try {
      await this.#open()
      await this.#read()
    } catch (error) {
      this.fail(error)
    }
  }

  /** A reader that has joined its feed holds no pending promise: thousands of them are in this state. */
  async #read (): Promise<void> {
    if (this.#sink.isOpen) await this.#hub.lag(this.#catchUp())
    if (!this.#sink.isOpen) return
    this.#isFollowing = true
    this.#feed.add(this)
    this.pump()
  }

  /** Called by the feed when something is new, and by the reader itself when there is room again. */
  pump (): boolean {
    while (this.#sink.isOpen && !this.#isWaiting) {
      const batch = this.#feed.batch(this.#nextIndex)
      if (!batch) {
        const isAtEnd = this.#feed.holds(this.#nextIndex)
        if (!isAtEnd) this.#fall()
        return isAtEnd
      }
      if (this.#sink.isFull) return this.#waitForRoom()
      if (batch.gap) {
        this.fail(new errors.TOPICS_GAP(batch.gap.topic, batch.gap.reason))
        return false
      }
      if (sizeOf(batch.frame) > 0 && !this.#sink.write(batch.frame)) return false
      this.#feed.weigh(batch)
      this.#nextIndex = batch.index + 1
      this.#place = batch.place
      if (isFinished(batch.place)) this.#finish(batch.place)
    }
    return false
  }

  /** Ends the stream with this error. */
  fail (error: unknown): void {
    this.#stop()?.sourceFailed(error)
  }

  #stop (): RunListener | undefined {
    const listener = this.#listener
    this.#listener = undefined
    this.#feed.delete(this)
    this.#hub.forget(this.#sink)
    return listener
  }

  /** The tail no longer holds the next batch: it is read from the log. */
  #fall (): void {
    if (!this.#isFollowing) return
    this.#isFollowing = false
    this.#feed.delete(this)
    this.#leave(this.#place!)
    this.#read().catch((error: unknown) => this.fail(error))
  }

  async #open (): Promise<void> {
    const gaps = this.#starts.flatMap(start => start.gap ? [start.gap] : [])
    const cursor = formatCursor(this.#feed.tags, this.#starts.map(({ position, sent }) => sent ?? position))
    this.#starts = NO_STARTS
    const frame = this.#control.open(gaps, cursor)
    if (frame) await this.#send(frame)
  }

  /**
   * Reads each topic's log from the cursor up to the feed's current place, and joins there once both are at the same
   * position. If they are not, one of them has seen more: the client through another process, or the reader a gap that
   * the feed has not reached. Then the feed compares with the log, too.
   */
  async #catchUp (): Promise<void> {
    let resynced = -1
    while (this.#sink.isOpen) {
      const place = this.#feed.place
      for (let at = 0; at < this.#positions.length; at++) await this.#readTopic(at, place.positions[at]!)
      const differing = this.#differingFrom(place)
      const isAhead = differing.some(at => isBefore(place.positions[at]!, this.#positions[at]!))
      // The log has confirmed that nothing lies between, although the ids differ: a position before the first entry.
      const mayJoin = differing.length === 0 || (resynced === place.index && !isAhead)
      if (mayJoin && this.#feed.holds(place.index)) return this.#join(place)
      if (resynced === place.index) await this.#reportLost(differing)
      resynced = place.index
      if (differing.length > 0) await Promise.race([this.#feed.resync(differing), this.#sink.closed])
    }
  }

  /**
   * The log has nothing new for the feed, and the reader is still ahead of it: the log may have lost events that the
   * client has.
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
    this.#positions = NO_POSITIONS
    await this.#tellEnds(place)
  }

  /**
   * Reads one page after another, each when there is room for it, so that nothing is held for a client that cannot
   * receive it.
   */
  async #readTopic (at: number, target: EventId): Promise<void> {
    while (isBefore(this.#positions[at]!, target) && (await this.#sink.room())) {
      const page = await this.#ask(at, () =>
        this.#hub.pages.read(this.#feed.topics[at]!, this.#positions[at]!, this.#feed.format)
      )
      if (!page) return
      if (!page.follows(this.#positions[at]!) && await this.#toldGap(at)) continue
      const wanted = page.upTo(target)
      // Nothing to read up to a target that was not reached: the feed is about to report the reason as a gap.
      if (wanted.length === 0) return
      this.#reopen(this.#feed.topics[at]!)
      for (const { frame, last } of this.#slicesOf(at, page, wanted)) {
        if (!await this.#send(frame)) return
        this.#positions[at] = last.id
      }
    }
  }

  #slicesOf (at: number, page: Page, wanted: readonly PageEntry[]): Iterable<Slice<PageEntry>> {
    const isWhole = wanted === page.entries
    if (this.#positions.length === 1) return isWhole ? page.slices : sliceAlone(wanted)
    const around = surroundingsOf(this.#feed.tags, this.#positions, at)
    return isWhole ? page.slicesWithin(around) : sliceWithin(wanted, around)
  }

  /** Reports a gap if events after the cursor are gone from the log. Returns false if none are. */
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
    return this.#send(this.#control.gap(told, formatCursor(this.#feed.tags, this.#positions)))
  }

  /**
   * Undefined if the stream is over; while the log is unavailable the stream stays open and its heartbeats continue.
   */
  #ask<T>(at: number, question: () => Promise<T>): Promise<T | undefined> {
    return retryUntilAvailable(
      question,
      () => !this.#sink.isOpen,
      error => this.#hub.onTrouble(this.#feed.topics[at]!, error)
    )
  }

  /** Resolves to true if the frame was written, to false if the sink is closed. */
  async #send (frame: Frame): Promise<boolean> {
    // Others may write to the same stream: the room may be gone again.
    while (await this.#sink.room()) if (!this.#sink.isFull) return this.#sink.write(frame)
    return false
  }

  #waitForRoom (): false {
    this.#isWaiting = true
    void this.#hub.lag(this.#sink.room()).then(() => {
      this.#isWaiting = false
      this.pump()
    })
    return false
  }

  /** Continues reading the log from the reader's place in its feed. */
  #leave ({ positions, closed }: FeedPlace): void {
    this.#positions = [...positions]
    this.#ended = new Set(closed.keys())
    this.#place = undefined
  }

  /** A topic with events after its end was reopened: its next end is a new one. */
  #reopen (topic: string): void {
    if (this.#ended.has(topic)) this.#ended = new Set([...this.#ended].filter(ended => ended !== topic))
  }

  /** Reports the topics that were closed before the reader joined; the feed reports those that close later. */
  async #tellEnds (place: FeedPlace): Promise<void> {
    const untold = [...place.closed].filter(([topic]) => !this.#ended.has(topic))
    const frame = untold.length > 0 ? this.#control.ends(untold, place.cursor) : undefined
    if (frame) await this.#send(frame)
    if (isFinished(place)) this.#finish(place)
  }

  #finish ({ closed }: FeedPlace): void {
    this.#control.finish(closed.values())
  }
}
