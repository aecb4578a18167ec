import { setMaxListeners } from 'node:events'
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import type { AnyEvents, SseEvents } from '../reply/events.ts'
import { withoutUndefined } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { errors } from './errors.ts'
import { formatEventId, ORIGIN } from './event-id.ts'
import { DEFAULT_ALL_TAILS_BYTES, DEFAULT_MAX_TOPICS, Hub } from './hub.ts'
import type { TopicsCounts } from './hub.ts'
import type { EndReason, LeaseReply } from './log/lease.ts'
import type { LogLogger, TopicEnds, TopicLog } from './log/topic-log.ts'
import { checkEvents, checkPublishOptions, MAX_BATCH_EVENTS } from './new-event.ts'
import type { PublishEvent, PublishOptions } from './new-event.ts'
import { NO_OBSERVER } from './observer.ts'
import type { TopicsObserver } from './observer.ts'
import { Producers } from './producers/index.ts'
import type { Producer } from './producers/index.ts'
import { checkProduceOptions } from './producers/options.ts'
import type { ProduceOptions } from './producers/options.ts'
import { checkProducerSource } from './producers/source.ts'
import type { ProducerSource } from './producers/source.ts'
import { readTopic } from './read-topic.ts'
import type { ReadOptions, TopicPage } from './read-topic.ts'
import { checkSubscribeOptions } from './start.ts'
import type { SubscribeOptions } from './start.ts'
import { createSubscription } from './subscription.ts'
import type { TopicSubscription } from './subscription.ts'
import { checkTopic, checkTopics } from './topic-name.ts'

export { MemoryLog } from './log/memory-log.ts'
export type { MemoryLogOptions } from './log/memory-log.ts'
export type {
  Appended,
  AppendOptions,
  Jump,
  LogEntry,
  LogHealth,
  Location,
  NewEvent,
  LogLogger,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from './log/topic-log.ts'
export type { AppendLease, EndReason, LeaseOutcome, LeaseReply, LeaseRequest, TopicEnd } from './log/lease.ts'
export type { Retention, RetentionRule } from './retention.ts'
export type { EventId } from './event-id.ts'
export type { Gap, GapReason } from '../common/in-band.ts'
export type { PublishEvent, PublishOptions } from './new-event.ts'
export type { TopicsCounts } from './hub.ts'
export type { ObservedBatch, ResumeOutcome, TopicsObserver } from './observer.ts'
export type { SubscribeOptions } from './start.ts'
export { DEFAULT_READ_BYTES, MAX_READ_BYTES, MAX_READ_EVENTS } from './read-topic.ts'
export type { ReadOptions, TopicEvent, TopicPage } from './read-topic.ts'
export type { SubscriptionItem } from './items.ts'
export type { Producer } from './producers/index.ts'
export type { ProduceOptions } from './producers/options.ts'
export type { ProductionEnd } from './producers/production.ts'
export type { ProducedItems, ProducerSource } from './producers/source.ts'
export type { TopicSource, TopicSubscription } from './subscription.ts'
export { errors as topicsErrors } from './errors.ts'
export type { TopicsErrorCode } from './errors.ts'
export { checkEvent, checkEvents, checkIdempotencyKey, EVENT_PATTERN, KEY_PATTERN } from './new-event.ts'
export type { CheckedEvent } from './new-event.ts'
export { checkSubscribeOptions, MAX_LAST } from './start.ts'
export { checkTopic, checkTopics, TOPIC_PATTERN } from './topic-name.ts'
export { MAX_CURSOR_TOPICS } from './cursor.ts'

/** Options of the topics plugin. */
export interface TopicsOptions {
  /** The log; a `MemoryLog` keeps nothing beyond this process. */
  log: TopicLog
  /** Size of one event on the wire, in bytes. Default 256 KiB. */
  maxEventBytes?: number
  /** Events in one publish, up to 100,000. Default 1,000. */
  maxBatchEvents?: number
  /** Encoded bytes kept in memory for each set of topics that has readers. Default 1 MiB. */
  maxTailBytes?: number
  /** Encoded bytes kept in memory for all sets of topics together. Default 64 MiB. */
  maxAllTailsBytes?: number
  /** Topics that the open streams of this process may follow together; a stream beyond gets 503. Default 100,000. */
  maxTopics?: number
  /** Hears what the topics do, for metrics. Default none. */
  observer?: TopicsObserver
}

/** What a publish did. */
export interface Published {
  /** Ids of the events, in their order. */
  ids: string[]
  /** True when the idempotency key was used before: the ids are those of that time, and nothing was added. */
  isRepeat: boolean
}

/** State of a topic. */
export interface TopicInfo {
  topic: string
  /** Id of the oldest event retained; null when none is. */
  first: string | null
  /** Id of the newest event ever published; null when there was none. */
  last: string | null
  /** Events retained. */
  count: number
  isClosed: boolean
  /** Why it was closed; null while it is open. */
  reason: EndReason | null
  /** What its producer said about a failure, or null. */
  message: string | null
  /**
   * The producer that is at work, or null: its lease, who holds it, the events it has published, and how long the lease
   * still runs, in ms.
   */
  producer: { lease: number, holder: string, accepted: number, remainingMs: number } | null
  /** Streams of this process that follow the topic; those of other processes are not counted. */
  subscribers: number
}

/** `app.topics`: durable topics. */
export interface Topics {
  /**
   * Publishes one event or a batch, all or none and in order. Settles when the log has them. Rejects with 400
   * `TOPICS_BAD_*`, 413 `TOPICS_EVENT_TOO_LARGE`, 409 `TOPICS_CLOSED`, 422 `TOPICS_IDEMPOTENCY_KEY_REUSED`, 503
   * `TOPICS_LOG_UNAVAILABLE`.
   *
   * `publish<Prices>('prices', …)` checks the data against a map of data by event name, as `app.get<{ Sse: Prices }>`
   * does.
   */
  publish: <E extends SseEvents = AnyEvents>(
    topic: string,
    events: PublishEvent<E> | ReadonlyArray<PublishEvent<E>>,
    options?: PublishOptions
  ) => Promise<Published>
  /**
   * The events of one topic or several: a source for `reply.sse()`, from the client's cursor on, and an iterable for
   * `for await` in this process, from the option `after` on. Throws 400 `TOPICS_BAD_*`.
   */
  subscribe: <E extends SseEvents = AnyEvents>(
    topics: string | readonly string[],
    options?: SubscribeOptions
  ) => TopicSubscription<E>
  /**
   * One page of a topic's events, oldest first; empty at the end of the topic and for a topic never published to. It
   * follows the same resume rule as a stream. Pass the returned `cursor` to the next `read`, or to a stream to continue
   * without a gap. Rejects with 400 `TOPICS_BAD_TOPIC` and `TOPICS_BAD_START`, and 503 `TOPICS_LOG_UNAVAILABLE`.
   */
  read: (topic: string, options?: ReadOptions) => Promise<TopicPage>
  /**
   * Publishes a source into a topic, independently of any request: readers may come, leave and resume while it runs.
   * The topic is closed when the source ends (`done`), fails (`failed`), is stopped (`stopped`), or when nothing was
   * heard of this process for as long as its lease runs (`lost`). While it runs, another producer of the topic is
   * refused. Settles when the topic is this producer's. Rejects with 409 `TOPICS_PRODUCER_EXISTS` and `TOPICS_CLOSED`,
   * 500 `TOPICS_BAD_SOURCE` and `TOPICS_BAD_OPTION`, 400 `TOPICS_BAD_TOPIC`, 503 `TOPICS_LOG_UNAVAILABLE`.
   */
  produce: (topic: string, source: ProducerSource, options?: ProduceOptions) => Promise<Producer>
  /**
   * Asks the producer of a topic to stop, in whichever process it runs. With `lease` only that very producer. Settles
   * with false when there is none (any more).
   */
  stop: (topic: string, options?: { lease?: number | undefined }) => Promise<boolean>
  /** Ends a topic: it takes no more events, and its readers are told so when they have read it to the end. */
  close: (topic: string) => Promise<void>
  /** Drops a topic's events and reopens it; its numbers go on. */
  delete: (topic: string) => Promise<void>
  /** Both ends of a topic. A topic never published to is empty, not an error. */
  info: (topic: string) => Promise<TopicInfo>
  /** Streams of this process that follow the topic. */
  subscribers: (topic: string) => number
  /**
   * How many events a stream has not been given yet, because its client is slow or still reads the log; those that wait
   * in the stream itself are its `bufferedBytes`. Undefined for a stream that is over or has no topics of this process.
   * After a failover of Redis the numbers that were skipped count as well, until the stream is past them.
   */
  behind: (stream: object) => number | undefined
  /** What the streams of this process take at this moment. */
  readonly counts: TopicsCounts
}

const DEFAULTS = {
  maxEventBytes: 256 * 1024,
  maxBatchEvents: 1_000,
  maxTailBytes: 1024 * 1024,
  maxAllTailsBytes: DEFAULT_ALL_TAILS_BYTES,
  maxTopics: DEFAULT_MAX_TOPICS
}

/** While the log is in trouble its questions fail over and over. */
const REPORT_MS = 60_000

const plugin: FastifyPluginAsync<TopicsOptions> = async function (app, options) {
  const { log, observer, ...limits } = checkOptions(options)
  const hub = new Hub(log, {
    maxTailBytes: limits.maxTailBytes,
    maxAllTailsBytes: limits.maxAllTailsBytes,
    maxTopics: limits.maxTopics,
    observer,
    onTrouble: reportSeldom(log, app.log)
  })
  await log.start(app.log)
  const producers = new Producers(hub, limits.maxEventBytes)
  const closing = new AbortController()
  setMaxListeners(0, closing.signal)
  app.decorate('topics', createTopics({ hub, producers, limits, closing: closing.signal }))
  app.addHook('preClose', async () => closing.abort())
  app.addHook('onClose', async () => {
    await producers.close()
    await log.stop()
  })
}

/**
 * One line, then at most one each minute, however many topics ask again and again; none while the log itself knows what
 * is wrong with its connections and has said so.
 */
function reportSeldom (log: TopicLog, logger: LogLogger): (topic: string, err: unknown) => void {
  let reportedAt = -Infinity
  return (topic, err) => {
    if (log.health?.problem !== undefined || performance.now() - reportedAt < REPORT_MS) return
    reportedAt = performance.now()
    logger.error({ err, topic }, 'the log could not be asked about a topic')
  }
}

/** What `app.topics` is made of. */
interface TopicsInit {
  hub: Hub
  producers: Producers
  limits: typeof DEFAULTS
  closing: AbortSignal
}

function createTopics ({ hub, producers, limits, closing }: TopicsInit): Topics {
  const { log } = hub
  return {
    async publish (topic, events, options = {}) {
      const checked = checkEvents(events, limits)
      const { ids, isRepeat } = await log.append(checkTopic(topic), checked, checkPublishOptions(options))
      return { ids: ids.map(formatEventId), isRepeat }
    },
    subscribe: (topics, options = {}) =>
      createSubscription({ hub, topics: checkTopics(topics), options: checkSubscribeOptions(options), closing }),
    read: async (topic, options = {}) => readTopic(log, checkTopic(topic), options),
    subscribers: topic => hub.readersOf(topic),
    behind: stream => hub.behind(stream),
    get counts () { return hub.counts },
    async produce (topic, source, options = {}) {
      checkProducerSource(source)
      return producers.start(checkTopic(topic), source, checkProduceOptions(options))
    },
    stop: async (topic, { lease } = {}) =>
      (await log.lease(checkTopic(topic), { do: 'stop', fence: checkLease(lease) })).outcome === 'ok',
    close: async topic => log.close(checkTopic(topic)),
    delete: async topic => log.delete(checkTopic(topic)),
    async info (topic) {
      const { ends } = await log.locate(checkTopic(topic), ORIGIN)
      // A look at a lease may close the topic: it takes the right to write, which somebody who only looks may not have.
      const producer = ends.leaseMs === undefined ? null : describeProducer(await log.lease(topic, { do: 'look' }))
      return { topic, ...describeEnds(ends), producer, subscribers: hub.readersOf(topic) }
    }
  }
}

function describeEnds (ends: TopicEnds): Omit<TopicInfo, 'topic' | 'producer' | 'subscribers'> {
  const { first, last, count, isClosed, reason, message } = ends
  return {
    first: first ? formatEventId(first) : null,
    last: last.n > 0 ? formatEventId(last) : null,
    count,
    isClosed,
    reason: reason ?? null,
    message: message ?? null
  }
}

function describeProducer (reply: LeaseReply): TopicInfo['producer'] {
  const { outcome, fence: lease, holder, accepted, remainingMs } = reply
  return outcome === 'ok' ? { lease, holder, accepted, remainingMs } : null
}

function checkLease (lease: unknown): number | undefined {
  if (lease === undefined || Number.isSafeInteger(lease)) return lease as number | undefined
  throw new errors.TOPICS_BAD_OPTION('lease', 'the lease of a producer', show(lease))
}

function checkOptions (options: TopicsOptions): Required<TopicsOptions> {
  const { log, observer = NO_OBSERVER, ...given } = withoutUndefined(options)
  if (typeof log?.append !== 'function') {
    throw new errors.TOPICS_BAD_OPTION('log', 'a TopicLog, such as new MemoryLog()', show(log))
  }
  if (typeof observer?.onBatch !== 'function') {
    throw new errors.TOPICS_BAD_OPTION('observer', 'a TopicsObserver', show(observer))
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new errors.TOPICS_BAD_OPTION(
        name,
        `one of log, ${Object.keys(DEFAULTS).join(', ')}, observer`,
        'an unknown option'
      )
    }
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new errors.TOPICS_BAD_OPTION(name, 'an integer from 1', show(value))
    }
    if (name === 'maxBatchEvents' && value > MAX_BATCH_EVENTS) {
      throw new errors.TOPICS_BAD_OPTION(name, `an integer from 1 to ${MAX_BATCH_EVENTS}`, show(value))
    }
  }
  return { log, observer, ...DEFAULTS, ...given }
}

/** The Fastify plugin: `app.topics`. Register `fastify-resumable-sse` beside it for `reply.sse()`. */
const topics: FastifyPluginAsync<TopicsOptions> = fp(plugin, { name: 'fastify-resumable-sse-topics', fastify: '5.x' })
export default topics
export { topics }

declare module 'fastify' {
  interface FastifyInstance {
    /** Durable topics. */
    topics: Topics
  }
}
