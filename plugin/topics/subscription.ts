import type { FrameSink } from '../reply/frame.ts'
import type { OpenableSource, SourceRun } from '../reply/source.ts'
import type { AnyEvents, SseEvents } from '../reply/events.ts'
import type { SseStream } from '../reply/stream.ts'
import { encodeEnvelope, encodeItem, encodePlain } from './frames.ts'
import type { EncodeEntry } from './frames.ts'
import type { Hub } from './hub.ts'
import { Items } from './items.ts'
import type { SubscriptionItem } from './items.ts'
import { Reader } from './reader.ts'
import { findStart, joinCursors } from './start.ts'
import type { SubscribeOptions } from './start.ts'

export interface SubscriptionInit {
  hub: Hub
  topics: readonly string[]
  options: SubscribeOptions
  /** Loops end when it is aborted: the app is closing. */
  closing?: AbortSignal
}

/**
 * A source that knows its topics. `E` maps event names to data; it is a promise of the publisher, nothing is checked at
 * run time.
 */
export interface TopicSource<E extends SseEvents = AnyEvents> extends OpenableSource<E> {
  /** What is subscribed to, sorted and without repeats. */
  readonly topics: readonly string[]
}

/** What `app.topics.subscribe()` returns: a source for `reply.sse()`, and an iterable for `for await`. */
export interface TopicSubscription<E extends SseEvents = AnyEvents>
  extends TopicSource<E>, AsyncIterable<SubscriptionItem> {
  /**
   * Reads the topics in this process, without a request and without a check of rights. Each loop begins by itself, with
   * its first `next()`. It ends when it is left, when the `signal` is aborted, when the app closes, and when every
   * topic was closed and read to its end. A slow loop delays nobody and misses nothing that the log still has; what it
   * missed is an item of the kind `gap`. It throws `TOPICS_LOG_UNAVAILABLE` when the log is not available at the start;
   * an outage later is waited for.
   */
  [Symbol.asyncIterator]: () => AsyncIterator<SubscriptionItem, undefined>
}

/**
 * A subscription holds no state of a stream or a loop: it may be made once and given to every request, copied or called
 * through another object. The grant is checked here, with the stream that is opened, so no wrapper loses that check.
 */
export function createSubscription<E extends SseEvents = AnyEvents> (init: SubscriptionInit): TopicSubscription<E> {
  return {
    topics: init.topics,
    // The log's frames are sent as they are: the types of the events do not matter from here on.
    open: stream => open(init, stream as SseStream),
    [Symbol.asyncIterator]: () => iterate(init)
  }
}

async function open (init: SubscriptionInit, stream: SseStream): Promise<SourceRun | undefined> {
  const { signal, envelope } = init.options
  stream.checkTopics(init.topics)
  endOnAbort(stream, signal)
  return begin(init, { sink: stream, cursor: stream.lastEventId, encode: envelope ? encodeEnvelope : encodePlain })
}

function iterate (init: SubscriptionInit): Items {
  const { after, signal } = init.options
  return new Items({
    cursor: joinCursors(after) ?? '',
    read: async sink => (await begin(init, { sink, cursor: undefined, encode: encodeItem }))?.(),
    signals: [signal, init.closing].filter(each => each !== undefined)
  })
}

/** Who reads, from where, and how events are written for it. */
interface Opened { sink: FrameSink, cursor: string | undefined, encode: EncodeEntry }

/**
 * Finds where the reader continues. Undefined, for 204, when it has read finished topics to their end; that tells
 * EventSource to stop. Rejects with the log's own error.
 */
async function begin (init: SubscriptionInit, opened: Opened): Promise<SourceRun | undefined> {
  const { hub, topics, options } = init
  const { sink, encode, cursor = joinCursors(options.after) } = opened
  const { feed, release } = await hub.acquire(topics, encode)
  void sink.closed.then(release)
  // Read before the log is asked: events that arrive meanwhile are in the feed, after this place.
  const { positions, closed } = feed.place
  const starts = await findStart({ pages: hub.pages, observer: hub.observer, options }, topics, positions, cursor)
  const isAtEnd = closed.size === topics.length && starts.every(start => start.isAtEnd)
  const isResumed = cursor !== undefined
  if (isAtEnd && isResumed && await hub.isFinished(feed, starts.map(start => start.position))) return undefined
  return () => new Reader({ hub, sink, feed, starts }).run()
}

function endOnAbort (stream: SseStream, signal: AbortSignal | undefined): void {
  if (!signal) return
  const end = (): void => stream.end()
  if (signal.aborted) return end()
  signal.addEventListener('abort', end, { once: true })
  void stream.closed.then(() => signal.removeEventListener('abort', end))
}
