import type { PreparedSource } from '../reply/source.ts'
import type { SseStream } from '../reply/stream.ts'
import type { FeedLease, Hub } from './hub.ts'
import { Reader } from './reader.ts'
import { findStart } from './start.ts'
import type { SubscribeOptions, TopicStart } from './start.ts'

interface SubscriptionInit { hub: Hub, topics: readonly string[], options: SubscribeOptions }

/** A source that knows its topics. */
export interface TopicSource extends PreparedSource {
  /** What is subscribed to, sorted and without repeats. */
  readonly topics: readonly string[]
}

/**
 * A subscription as a source for `reply.sse()`. Before the first byte it finds where the client goes on; a client that
 * has read finished topics to their end gets 204, which tells EventSource to stop.
 */
export class Subscription implements TopicSource {
  readonly #init: SubscriptionInit
  #plan: { lease: FeedLease, starts: TopicStart[] } | undefined

  constructor (init: SubscriptionInit) {
    this.#init = init
  }

  get topics (): readonly string[] { return this.#init.topics }

  async prepare (stream: SseStream): Promise<boolean> {
    const { hub, topics, options } = this.#init
    const lease = await hub.acquire(topics)
    void stream.closed.then(lease.release)
    const cursor = stream.lastEventId ?? options.after
    // Read before the log is asked: what comes meanwhile is in the feed, behind this place.
    const { positions, closed } = lease.feed.place
    const starts = await findStart({ log: hub.log, pages: hub.pages, observer: hub.observer, options }, topics, positions, cursor)
    this.#plan = { lease, starts }
    const isFinished = closed.size === topics.length && starts.every(start => start.isAtEnd)
    return !(isFinished && cursor !== undefined)
  }

  async run (stream: SseStream): Promise<void> {
    const { hub } = this.#init
    if (this.#plan) await new Reader({ hub, stream, feed: this.#plan.lease.feed, starts: this.#plan.starts }).run()
  }
}
