import type { FrameSink } from '../../reply/frame.ts'
import { START } from '../../reply/source.ts'
import type { LastingRun, OpenableSource, RunListener, SourceRun } from '../../reply/source.ts'
import type { AnyEvents, SseEvents } from '../../reply/events.ts'
import type { SseStream } from '../../reply/stream/sse-stream.ts'
import { InBandControl, noControl } from './control.ts'
import type { Control } from './control.ts'
import { errors } from '../errors.ts'
import { BARE, ENVELOPE, ITEM, PLAIN } from '../feed/frames.ts'
import type { EventFormat } from '../feed/frames.ts'
import type { Hub } from '../feed/hub.ts'
import { Items } from '../feed/items.ts'
import type { SubscriptionItem } from '../feed/items.ts'
import { Reader } from './reader.ts'
import { findStart, joinCursors } from './start.ts'
import type { TopicStart } from './start.ts'
import { finalFrame } from './subscribe-options.ts'
import type { SubscribeOptions } from './subscribe-options.ts'

export interface SubscriptionInit {
  hub: Hub
  topics: readonly string[]
  options: SubscribeOptions
  /** Loops end when it is aborted, because the app is closing. */
  closing?: AbortSignal
}

/**
 * A source that knows its topics. `E` maps event names to data types as promised by the publisher; nothing is checked
 * at run time.
 */
export interface TopicSource<E extends SseEvents = AnyEvents> extends OpenableSource<E> {
  /** The topics, sorted and without duplicates. */
  readonly topics: readonly string[]
  /** The value that `SseStream.control` gets when the source is opened; undefined means `in-band`. */
  readonly control?: 'in-band' | 'none' | undefined
}

/** The return value of `app.topics.subscribe()`: a source for `reply.sse()`, and an iterable for `for await`. */
export interface TopicSubscription<E extends SseEvents = AnyEvents>
  extends TopicSource<E>, AsyncIterable<SubscriptionItem> {
  /**
   * Reads the topics in this process, without a request and without checking permissions. Each loop is independent and
   * starts with its first `next()`. It ends when it is left, when the `signal` aborts, when the app closes, and when
   * every topic was closed and read to its end. A slow loop delays nobody and misses nothing that the log still has;
   * anything it missed is an item of kind `gap`. Throws `TOPICS_LOG_UNAVAILABLE` if the log is unavailable at the
   * start; later outages are waited for.
   */
  [Symbol.asyncIterator]: () => AsyncIterator<SubscriptionItem, undefined>
  /** Throws `TOPICS_NOT_STREAMED`: a handler must return `reply.sse(subscription)`, not the subscription. */
  toJSON: () => never
}

/**
 * A subscription contains no state of a stream or loop: it may be created once and used for every request, copied or
 * called through another object. The grant is checked here, for the stream that is opened, so that no wrapper can
 * bypass the check.
 */
export function createSubscription<E extends SseEvents = AnyEvents> (init: SubscriptionInit): TopicSubscription<E> {
  return {
    topics: init.topics,
    control: init.options.control,
    // The log's frames are sent unchanged: the types of the events do not matter from here on.
    open: stream => open(init, stream as SseStream),
    toJSON: refuseJson,
    [Symbol.asyncIterator]: () => iterate(init)
  }
}

/** A handler that returns the subscription itself would respond with its fields, and nothing would stream. */
function refuseJson (): never {
  throw new errors.TOPICS_NOT_STREAMED()
}

async function open (init: SubscriptionInit, stream: SseStream): Promise<SourceRun | undefined> {
  const { signal, envelope, control, final } = init.options
  stream.checkTopics(init.topics)
  const isBare = control === 'none'
  if (isBare) stream.omitControl()
  endOnAbort(stream, signal)
  return begin(init, {
    sink: stream,
    cursor: stream.lastEventId,
    format: isBare ? BARE : envelope ? ENVELOPE : PLAIN,
    control: isBare ? noControl(stream, final && finalFrame(final)) : new InBandControl(stream)
  })
}

function iterate (init: SubscriptionInit): Items {
  const { after, signal } = init.options
  return new Items({
    cursor: joinCursors(after) ?? '',
    read: async sink =>
      (await begin(init, { sink, cursor: undefined, format: ITEM, control: new InBandControl(sink) }))?.(),
    signals: [signal, init.closing].filter(each => each !== undefined)
  })
}

/** The sink, the cursor, and how events and in-band events are written to it. */
interface Opened { sink: FrameSink, cursor: string | undefined, format: EventFormat, control: Control }

/**
 * Finds where the reader continues. Resolves to undefined, for 204, if the client has read all topics to their end;
 * that makes an EventSource stop. Rejects with the error of the log, or with `TOPICS_GAP` if gaps cannot be reported.
 */
async function begin (init: SubscriptionInit, opened: Opened): Promise<SourceRun | undefined> {
  const { hub, topics, options } = init
  const { sink, format, control, cursor = joinCursors(options.after) } = opened
  const { feed, release } = await hub.acquire(topics, format)
  sink.whenClosed(release)
  // Read before the log is queried: events that arrive in the meantime are in the feed, after this place.
  const { positions: now, closed } = feed.place
  const starts = await findStart({ pages: hub.pages, observer: hub.observer, options }, topics, now, cursor)
  // Checked before a one-time token is spent.
  if (!format.hasControl) refuseGaps(starts)
  const isAtEnd = starts.every(start => start.isAtEnd)
  const positions = starts.map(start => start.position)
  if (isAtEnd && !format.hasControl && await hub.isNothingLeft(feed, positions)) return undefined
  const isResumed = cursor !== undefined || options.startingAfter !== undefined
  if (isAtEnd && closed.size === topics.length && isResumed && await hub.isFinished(feed, positions)) return undefined
  return lastingRun(new Reader({ hub, sink, control, feed, starts }))
}

function lastingRun (reader: Reader): LastingRun {
  return Object.assign(() => reader.run(), { [START]: (listener: RunListener) => reader.start(listener) })
}

function refuseGaps (starts: readonly TopicStart[]): void {
  for (const { gap } of starts) if (gap) throw new errors.TOPICS_GAP(gap.topic, gap.reason)
}

/**
 * The application ends the stream but not its topics: without control events, only an aborted response tells the client
 * that it is incomplete.
 */
function endOnAbort (stream: SseStream, signal: AbortSignal | undefined): void {
  if (!signal) return
  const end = (): void => stream.control === 'none' ? stream.breakOff() : stream.end()
  if (signal.aborted) return end()
  signal.addEventListener('abort', end, { once: true })
  stream.whenClosed(() => signal.removeEventListener('abort', end))
}
