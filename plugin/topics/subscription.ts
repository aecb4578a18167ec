import type { OpenableSource, SourceRun } from '../reply/source.ts'
import type { AnyEvents, SseEvents } from '../reply/events.ts'
import type { SseStream } from '../reply/stream.ts'
import { encodeEnvelope, encodePlain } from './frames.ts'
import type { Hub } from './hub.ts'
import { Reader } from './reader.ts'
import { findStart, joinCursors } from './start.ts'
import type { SubscribeOptions } from './start.ts'

export interface SubscriptionInit { hub: Hub, topics: readonly string[], options: SubscribeOptions }

/** A source that knows its topics. `E` maps event names to data; it is a promise of the publisher, nothing is checked at run time. */
export interface TopicSource<E extends SseEvents = AnyEvents> extends OpenableSource<E> {
  /** What is subscribed to, sorted and without repeats. */
  readonly topics: readonly string[]
}

/**
 * A subscription as a source for `reply.sse()`. It holds no state of a stream: it may be made once and given to every request, copied
 * or called through another object. The grant is checked here, with the stream that is opened, so no wrapper loses that check.
 */
export function createSubscription<E extends SseEvents = AnyEvents> (init: SubscriptionInit): TopicSource<E> {
  // The log's frames are sent as they are: the types of the events do not matter from here on.
  return { topics: init.topics, open: stream => open(init, stream as SseStream) }
}

/**
 * Finds where the client continues. Undefined, for 204, when it has read finished topics to their end; that tells EventSource
 * to stop. Rejects with 403 when the request may not read a topic, and with the log's own error.
 */
async function open ({ hub, topics, options }: SubscriptionInit, stream: SseStream): Promise<SourceRun | undefined> {
  stream.checkTopics(topics)
  const { feed, release } = await hub.acquire(topics, options.envelope ? encodeEnvelope : encodePlain)
  void stream.closed.then(release)
  const cursor = stream.lastEventId ?? joinCursors(options.after)
  // Read before the log is asked: events that arrive meanwhile are in the feed, after this place.
  const { positions, closed } = feed.place
  const starts = await findStart({ pages: hub.pages, observer: hub.observer, options }, topics, positions, cursor)
  const isAtEnd = closed.size === topics.length && starts.every(start => start.isAtEnd)
  if (isAtEnd && cursor !== undefined && await hub.isFinished(feed, starts.map(start => start.position))) return undefined
  return () => new Reader({ hub, sink: stream, feed, starts }).run()
}
