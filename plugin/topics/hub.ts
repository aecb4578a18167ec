import { errors } from './errors.ts'
import { isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import { Feed } from './feed.ts'
import { FlushQueue } from './flush-queue.ts'
import { TopicFollower } from './follower.ts'
import { encodePlain } from './frames.ts'
import type { EncodeEntry } from './frames.ts'
import { NO_OBSERVER } from './observer.ts'
import type { TopicsObserver } from './observer.ts'
import { Pages } from './pages.ts'
import { endOf } from './resume.ts'
import { TailBudget } from './tail-budget.ts'
import type { TopicLog } from './log/topic-log.ts'

/** A feed in use; `release` must be called once. */
export interface FeedLease { feed: Feed, release: () => void }

export interface HubOptions {
  /** Encoded bytes kept for each feed. */
  maxTailBytes: number
  /** Encoded bytes kept for all feeds together. Default 64 MiB. */
  maxAllTailsBytes?: number
  /** Topics followed at one time. Default 100,000. */
  maxTopics?: number
  observer?: TopicsObserver
  onTrouble: (topic: string, error: unknown) => void
}

export const DEFAULT_ALL_TAILS_BYTES = 64 * 1024 * 1024
export const DEFAULT_MAX_TOPICS = 100_000

/** What the topics of a process are busy with, at this moment. */
export interface TopicsCounts {
  /** Topics followed: those of all open streams, each once. */
  topics: number
  /** Feeds over them, one for each set of topics that has readers. */
  feeds: number
  /** Encoded bytes kept in memory for all feeds. */
  tailBytes: number
  /** Readers that are not at the end of their feed: they read the log, or wait for a slow client. */
  lagging: number
}

/** A reader, as far as others ask about it. */
export interface Trailing {
  /** Events that its stream has not been given yet. */
  readonly behind: number
}

interface Shared<T> { users: number, made: Promise<T> }

/**
 * What the readers of this process share: one follower per topic, one feed per set of topics. Both come with their
 * first user and go with their last.
 */
export class Hub {
  readonly log: TopicLog
  readonly pages: Pages
  readonly observer: TopicsObserver
  readonly #maxTailBytes: number
  readonly #maxTopics: number
  readonly #budget: TailBudget
  readonly #queue = new FlushQueue()
  /** Told when the log could not be asked about a topic. */
  readonly onTrouble: (topic: string, error: unknown) => void
  /** Told when a topic's producer was asked to stop; for topics that somebody here follows. */
  onStop: (topic: string, fence: number) => void = () => {}
  /** Told when something other than new events has happened, perhaps, in a topic that somebody here follows. */
  onDoubt: (topic: string) => void = () => {}
  readonly #feeds = new Map<string, Shared<Feed>>()
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

  /** Readers of this process that follow the topic. */
  readersOf (topic: string): number {
    return this.#readers.get(topic) ?? 0
  }

  /** Remembers the reader that writes to a sink until `over` settles. Settles as it does. */
  trail<T> (sink: object, reader: Trailing, over: Promise<T>): Promise<T> {
    this.#trailing.set(sink, reader)
    return over.finally(() => { this.#trailing.delete(sink) })
  }

  /** Events that a stream has not been given yet; undefined when no reader writes to it. */
  behind (stream: object): number | undefined {
    return this.#trailing.get(stream)?.behind
  }

  /** A reader lags until the promise settles. Settles as it does. */
  lag<T> (until: Promise<T>): Promise<T> {
    this.#lagging++
    return until.finally(() => { this.#lagging-- })
  }

  /**
   * The feed over these topics (sorted, without repeats), for readers with the same `encode`. Rejects with what the log
   * rejects with, and with `TOPICS_TOO_MANY_FOLLOWED`.
   */
  async acquire (topics: readonly string[], encode: EncodeEntry = encodePlain): Promise<FeedLease> {
    const key = [encode.name, ...topics].join('\n')
    const feed = await use(this.#feeds, key, () => this.#makeFeed(topics, encode))
    this.#count(topics, 1)
    const release = (): void => {
      this.#count(topics, -1)
      leave(this.#feeds, key, feed => { this.#dropFeed(feed) })
    }
    return { feed, release }
  }

  /**
   * True when the log itself says that all topics are closed and that they end at these positions. That answer ends an
   * EventSource for good, and a feed may not have heard yet that a topic was deleted, and with that opened again.
   */
  async isFinished (feed: Feed, positions: readonly EventId[]): Promise<boolean> {
    const ends = await Promise.all(feed.topics.map(topic => this.pages.endsNow(topic)))
    if (ends.every((end, at) => end.isClosed && isSameEventId(endOf(end), positions[at]!))) return true
    await feed.resync(feed.topics.map((_, at) => at))
    return false
  }

  /**
   * Follows a topic without reading it: `onStop` is told. Settles with what ends that. Rejects with what the log
   * rejects with.
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

  async #makeFeed (topics: readonly string[], encode: EncodeEntry): Promise<Feed> {
    this.#refuseTooMany(topics)
    const following = topics.map(topic => use(this.#followers, topic, () => this.#makeFollower(topic)))
    const followed = await Promise.allSettled(following)
    const failed = followed.find(result => result.status === 'rejected')
    if (!failed) return this.#createFeed(await Promise.all(following), encode)
    topics.forEach((topic, at) => { if (followed[at]?.status === 'fulfilled') this.#leaveFollower(topic) })
    throw failed.reason
  }

  #createFeed (followers: readonly TopicFollower[], encode: EncodeEntry): Feed {
    return new Feed(followers, {
      maxTailBytes: this.#maxTailBytes,
      budget: this.#budget,
      queue: this.#queue,
      observer: this.observer,
      encode
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
      onDoubt: topic => {
        this.pages.forget(topic)
        this.onDoubt(topic)
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
      // From here on a delete is not heard of.
      this.pages.forget(topic)
      this.log.unfollow(topic, follower).catch((error: unknown) => this.onTrouble(topic, error))
    })
  }
}

/** Takes a shared thing, making it if there is none. One that cannot be made is nobody's. */
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
  // Whoever leaves has used it, so it was made.
  void shared.made.then(drop)
}
