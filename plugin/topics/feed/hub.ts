import { errors } from '../errors.ts'
import { isSameEventId } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { Feed } from './feed.ts'
import { FlushQueue } from './flush-queue.ts'
import { TopicFollower } from './follower.ts'
import { PLAIN } from './frames.ts'
import type { EventFormat } from './frames.ts'
import { NO_OBSERVER } from '../observer.ts'
import type { TopicsObserver } from '../observer.ts'
import { Pages } from '../subscription/pages.ts'
import { endOf } from '../ids/resume.ts'
import { TailBudget } from './tail-budget.ts'
import type { TopicEnds, TopicLog } from '../log/topic-log.ts'

/** A feed in use; `release` must be called once by each user. */
export interface FeedLease { feed: Feed, release: () => void }

export interface HubOptions {
  /** Encoded bytes kept for each feed. */
  maxTailBytes: number
  /** Encoded bytes kept for all feeds together. Default 64 MiB. */
  maxAllTailsBytes?: number
  /** Maximum number of followed topics. Default 100,000. */
  maxTopics?: number
  observer?: TopicsObserver
  onTrouble: (topic: string, error: unknown) => void
}

export const DEFAULT_ALL_TAILS_BYTES = 64 * 1024 * 1024
export const DEFAULT_MAX_TOPICS = 100_000

/** The current numbers of topics, feeds and readers in a process. */
export interface TopicsCounts {
  /** Followed topics: those of all open streams, each counted once. */
  topics: number
  /** Feeds, one for each set of topics that has readers. */
  feeds: number
  /** Encoded bytes kept in memory for all feeds. */
  tailBytes: number
  /** Readers that are not at the end of their feed, because they read the log or wait for a slow client. */
  lagging: number
}

/** The part of a reader that others query. */
export interface Trailing {
  /** Number of events that have not been written to its stream yet. */
  readonly behind: number
}

interface Shared<T> { users: number, made: Promise<T> }

/**
 * What the readers of this process share: one follower per topic, one feed per set of topics. Both are created for
 * their first user and removed with their last.
 */
export class Hub {
  readonly log: TopicLog
  readonly pages: Pages
  readonly observer: TopicsObserver
  readonly #maxTailBytes: number
  readonly #maxTopics: number
  readonly #budget: TailBudget
  readonly #queue = new FlushQueue()
  /** Called when the log could not be queried about a topic. */
  readonly onTrouble: (topic: string, error: unknown) => void
  /** Called when a topic's producer was asked to stop; for topics that are followed in this process. */
  onStop: (topic: string, fence: number) => void = () => {}
  /** Called when something other than new events may have happened in a topic that is followed in this process. */
  onResync: (topic: string) => void = () => {}
  readonly #feeds = new Map<string, Shared<FeedLease>>()
  readonly #followers = new Map<string, Shared<TopicFollower>>()
  #lagging = 0
  readonly #readers = new Map<string, number>()
  readonly #trailing = new Map<object, Trailing>()

  constructor (
    log: TopicLog,
    {
      maxTailBytes,
      maxAllTailsBytes = DEFAULT_ALL_TAILS_BYTES,
      maxTopics = DEFAULT_MAX_TOPICS,
      observer = NO_OBSERVER,
      onTrouble
    }: HubOptions
  ) {
    this.log = log
    this.pages = new Pages(log)
    this.#maxTailBytes = maxTailBytes
    this.#maxTopics = maxTopics
    this.observer = observer
    this.#budget = new TailBudget(maxAllTailsBytes)
    this.onTrouble = onTrouble
  }

  get counts (): TopicsCounts {
    return {
      topics: this.#followers.size,
      feeds: this.#feeds.size,
      tailBytes: this.#budget.used,
      lagging: this.#lagging
    }
  }

  /** The number of readers in this process that follow the topic. */
  readersOf (topic: string): number {
    return this.#readers.get(topic) ?? 0
  }

  /** Registers the reader that writes to a sink. */
  trail (sink: object, reader: Trailing): void {
    this.#trailing.set(sink, reader)
  }

  forget (sink: object): void {
    this.#trailing.delete(sink)
  }

  /** Number of events that have not been written to a stream yet; undefined if no reader writes to it. */
  behind (stream: object): number | undefined {
    return this.#trailing.get(stream)?.behind
  }

  /** Counts a reader as lagging until the promise settles. Settles as the promise does. */
  lag<T> (until: Promise<T>): Promise<T> {
    this.#lagging++
    return until.finally(() => { this.#lagging-- })
  }

  /**
   * The feed for these topics (sorted, without duplicates) and readers with the same format. Rejects with the error
   * of the log, or with `TOPICS_TOO_MANY_FOLLOWED`.
   */
  async acquire (topics: readonly string[], format: EventFormat = PLAIN): Promise<FeedLease> {
    const key = [format.name, ...topics].join('\n')
    const lease = await use(this.#feeds, key, async () => this.#lease(key, await this.#makeFeed(topics, format)))
    this.#count(topics, 1)
    lease.feed.users++
    return lease
  }

  /** The same for all users of a feed. */
  #lease (key: string, feed: Feed): FeedLease {
    const release = (): void => {
      this.#count(feed.topics, -1)
      feed.users--
      leave(this.#feeds, key, () => { this.#dropFeed(feed) })
    }
    return { feed, release }
  }

  /**
   * True if the log confirms that all topics are closed and end at these positions. The resulting response ends an
   * EventSource permanently, and a feed may not know yet that a topic was deleted and thereby reopened.
   */
  async isFinished (feed: Feed, positions: readonly EventId[]): Promise<boolean> {
    const ends = await this.#endsNow(feed)
    if (ends.every((end, at) => isFinishedAt(end, positions[at]!))) return true
    await feed.resync(feed.topics.map((_, at) => at))
    return false
  }

  /**
   * True if the log confirms that each topic ends at its position, or has neither events nor a producer: there is
   * nothing to wait for.
   */
  async isNothingLeft (feed: Feed, positions: readonly EventId[]): Promise<boolean> {
    const ends = await this.#endsNow(feed)
    return ends.every((end, at) => isFinishedAt(end, positions[at]!) || isUnused(end))
  }

  #endsNow (feed: Feed): Promise<TopicEnds[]> {
    return Promise.all(feed.topics.map(topic => this.pages.endsNow(topic)))
  }

  /**
   * Follows a topic without reading it, so that `onStop` is called. Resolves to a function that ends this. Rejects with
   * the error of the log.
   */
  async follow (topic: string): Promise<() => void> {
    await use(this.#followers, topic, () => this.#makeFollower(topic))
    return () => { this.#leaveFollower(topic) }
  }

  #count (topics: readonly string[], change: 1 | -1): void {
    for (const topic of topics) {
      const readers = this.readersOf(topic) + change
      if (readers > 0) this.#readers.set(topic, readers)
      else this.#readers.delete(topic)
    }
  }

  async #makeFeed (topics: readonly string[], format: EventFormat): Promise<Feed> {
    this.#refuseTooMany(topics)
    const following = topics.map(topic => use(this.#followers, topic, () => this.#makeFollower(topic)))
    const followed = await Promise.allSettled(following)
    const failed = followed.find(result => result.status === 'rejected')
    if (!failed) return this.#createFeed(await Promise.all(following), format)
    topics.forEach((topic, at) => { if (followed[at]?.status === 'fulfilled') this.#leaveFollower(topic) })
    throw failed.reason
  }

  #createFeed (followers: readonly TopicFollower[], format: EventFormat): Feed {
    return new Feed(followers, {
      maxTailBytes: this.#maxTailBytes,
      budget: this.#budget,
      queue: this.#queue,
      observer: this.observer,
      format
    })
  }

  #refuseTooMany (topics: readonly string[]): void {
    const wanted = topics.filter(topic => !this.#followers.has(topic)).length
    if (this.#followers.size + wanted > this.#maxTopics) {
      throw new errors.TOPICS_TOO_MANY_FOLLOWED(this.#maxTopics, this.#followers.size, wanted)
    }
  }

  async #makeFollower (topic: string): Promise<TopicFollower> {
    const follower = new TopicFollower(topic, this.log, {
      onTrouble: this.onTrouble,
      onResync: topic => {
        this.pages.forget(topic)
        this.onResync(topic)
      },
      onStop: (topic, fence) => this.onStop(topic, fence),
      observer: this.observer
    })
    await follower.start()
    return follower
  }

  #dropFeed (feed: Feed): void {
    feed.stop()
    for (const topic of feed.topics) this.#leaveFollower(topic)
  }

  #leaveFollower (topic: string): void {
    leave(this.#followers, topic, follower => {
      follower.stop()
      // From here on a deletion is not noticed.
      this.pages.forget(topic)
      this.log.unfollow(topic, follower).catch((error: unknown) => this.onTrouble(topic, error))
    })
  }
}

function isFinishedAt (ends: TopicEnds, position: EventId): boolean {
  return ends.isClosed && isSameEventId(endOf(ends), position)
}

function isUnused ({ isClosed, count, leaseMs }: TopicEnds): boolean {
  return !isClosed && count === 0 && leaseMs === undefined
}

/** Returns a shared resource, creating it if necessary. A resource that cannot be created is not kept. */
async function use<T> (things: Map<string, Shared<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = things.get(key)
  const shared = known ?? { users: 0, made: make() }
  things.set(key, shared)
  shared.users++
  try {
    return await shared.made
  } catch (error) {
    if (things.get(key) === shared) things.delete(key)
    throw error
  }
}

function leave<T> (things: Map<string, Shared<T>>, key: string, drop: (thing: T) => void): void {
  const shared = things.get(key)
  if (!shared || --shared.users > 0) return
  things.delete(key)
  // Every user has waited for it, so it exists.
  void shared.made.then(drop)
}
