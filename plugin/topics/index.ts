import { setMaxListeners } from 'node:events'
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import type { AnyEvents, SseEvents } from '../reply/events.ts'
import { FASTIFY_RANGE } from '../common/fastify-range.ts'
import { checkOptions, trueOrFalse } from '../common/option-check.ts'
import { badOption } from './errors.ts'
import { formatEventId, ORIGIN } from './ids/event-id.ts'
import { Hub } from './feed/hub.ts'
import type { TopicsCounts } from './feed/hub.ts'
import type { EndReason } from './log/lease.ts'
import type { DeleteOptions, LogLogger, TopicEnds, TopicLog } from './log/topic-log.ts'
import { checkEvents, checkPublishOptions } from './new-event.ts'
import type { PublishEvent, PublishOptions } from './new-event.ts'
import { resolveTopicsOptions } from './options.ts'
import type { TopicsLimits, TopicsOptions } from './options.ts'
import { Producers } from './producers/index.ts'
import { describeProducer, toProducerInfo } from './producers/info.ts'
import type { LiveProducer, ProducerInfo } from './producers/info.ts'
import type { Producer } from './producers/index.ts'
import { checkProduceOptions } from './producers/options.ts'
import type { ProduceOptions } from './producers/options.ts'
import { checkProducerSource } from './producers/source.ts'
import type { ProducerSource } from './producers/source.ts'
import { guardObserver } from './observer.ts'
import { readTopic } from './read-topic.ts'
import type { ReadOptions, TopicPage } from './read-topic.ts'
import { checkStartTopics, checkSubscribeOptions } from './subscription/subscribe-options.ts'
import type { SubscribeOptions } from './subscription/subscribe-options.ts'
import { createSubscription } from './subscription/subscription.ts'
import type { TopicSubscription } from './subscription/subscription.ts'
import { checkTopic, checkTopics } from './topic-name.ts'

export { MemoryLog } from './log/memory-log.ts'
export type { MemoryLogOptions } from './log/memory-log.ts'
export type {
  Appended,
  AppendOptions,
  DeleteOptions,
  LogEntry,
  LogHealth,
  Location,
  NewEvent,
  LogLogger,
  PageLimit,
  SeekStart,
  Skip,
  TopicEnds,
  TopicListener,
  TopicLog
} from './log/topic-log.ts'
export type { AppendLease, EndReason, LeaseOutcome, LeaseReply, LeaseRequest, TopicEnd } from './log/lease.ts'
export type { Retention, RetentionRule } from './retention.ts'
export type { EventId } from './ids/event-id.ts'
export type { Gap, GapReason } from '../common/in-band.ts'
export type { PublishEvent, PublishOptions } from './new-event.ts'
export type { TopicsCounts } from './feed/hub.ts'
export type { ObservedBatch, ResumeOutcome, TopicsObserver } from './observer.ts'
export type { SubscribeOptions } from './subscription/subscribe-options.ts'
export type { TopicsOptions } from './options.ts'
export { DEFAULT_READ_BYTES, MAX_READ_BYTES, MAX_READ_EVENTS } from './read-topic.ts'
export type { ReadOptions, TopicEvent, TopicPage } from './read-topic.ts'
export type { SubscriptionItem } from './feed/items.ts'
export type { Producer } from './producers/index.ts'
export type { LiveProducer, ProducerInfo } from './producers/info.ts'
export { PRODUCER_ID_PATTERN } from './producers/options.ts'
export type { ProduceOptions } from './producers/options.ts'
export type { ProductionEnd } from './producers/production.ts'
export type { ProducedItems, ProducerSource } from './producers/source.ts'
export type { TopicSource, TopicSubscription } from './subscription/subscription.ts'
export { errors as topicsErrors } from './errors.ts'
export type { TopicsErrorCode } from './errors.ts'
export {
  checkEvent, checkEvents, checkIdempotencyKey, EVENT_PATTERN, KEY_PATTERN, MAX_EVENT_NAME_BYTES
} from './new-event.ts'
export type { CheckedEvent } from './new-event.ts'
export { checkSubscribeOptions, MAX_LAST } from './subscription/subscribe-options.ts'
export { checkTopic, checkTopics, TOPIC_PATTERN } from './topic-name.ts'
export { MAX_CURSOR_TOPICS } from './ids/cursor.ts'
export { Turns } from '../common/turns.ts'

/** Result of a publish. */
export interface Published {
  /** Ids of the events, in order. */
  ids: string[]
  /** True if the idempotency key was used before: the ids are those of the first publish, and nothing was appended. */
  isRepeat: boolean
}

/** State of a topic. */
export interface TopicInfo {
  topic: string
  /** Id of the oldest retained event; null if there is none. */
  first: string | null
  /** Id of the newest event ever published; null if there was none. */
  last: string | null
  /** Number of retained events. */
  count: number
  isClosed: boolean
  /** Why it was closed; null while it is open. */
  reason: EndReason | null
  /** The message of its producer about a failure, or null. */
  message: string | null
  /**
   * The active producer, or null: its lease, the name of its holder, the number of events it has published, and the
   * remaining time of the lease, in ms.
   */
  producer: LiveProducer | null
  /** Streams of this process that follow the topic; those of other processes are not counted. */
  subscribers: number
}

/** `app.topics`: durable topics. */
export interface Topics {
  /**
   * Publishes one event or a batch, atomically and in order. Resolves when the log has stored them. Rejects with 400
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
   * The events of one or several topics: a source for `reply.sse()` that starts after the client's cursor, and an
   * iterable for `for await` in this process that starts after the option `after`. Throws 400 `TOPICS_BAD_*`.
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
   * Publishes the events of a source to a topic, independently of any request: readers can connect, disconnect and
   * resume while it runs. The topic is closed when the source ends (`done`), fails (`failed`) or is stopped
   * (`stopped`), or when this process does not renew its lease in time (`lost`). While it runs, another producer of the
   * topic is rejected. Resolves when the producer holds the lease. Rejects with 409 `TOPICS_PRODUCER_EXISTS` and
   * `TOPICS_CLOSED`, 500 `TOPICS_BAD_SOURCE` and `TOPICS_BAD_OPTION`, 400 `TOPICS_BAD_TOPIC`, 503
   * `TOPICS_LOG_UNAVAILABLE`.
   */
  produce: (topic: string, source: ProducerSource, options?: ProduceOptions) => Promise<Producer>
  /**
   * Stops the producer of a topic, in whichever process it runs. With `lease`, only the producer that holds this lease.
   * Resolves with false if there is none.
   */
  stop: (topic: string, options?: { lease?: number | undefined }) => Promise<boolean>
  /**
   * The producer of a topic; of a topic that is closed, the one that it had last. A producer that lost contact learns
   * from it where to continue. Closes the topic, as any request does, when the lease has run out. Rejects with 400
   * `TOPICS_BAD_TOPIC` and 503 `TOPICS_LOG_UNAVAILABLE`.
   */
  producer: (topic: string) => Promise<ProducerInfo>
  /** Closes a topic: it accepts no more events, and readers receive `stream.end` when they have read it to the end. */
  close: (topic: string) => Promise<void>
  /**
   * Deletes a topic's events and reopens it; event numbers continue. With `ifClosed: true` only if the topic is closed;
   * resolves to false if it is not.
   */
  delete: (topic: string, options?: DeleteOptions) => Promise<boolean>
  /** The state of a topic. A topic that was never published to is empty, not an error. */
  info: (topic: string) => Promise<TopicInfo>
  /** Streams of this process that follow the topic. */
  subscribers: (topic: string) => number
  /**
   * Number of events not yet written to a stream, because its client is slow or it still reads the log; events buffered
   * in the stream itself are counted by its `bufferedBytes`. Undefined for a stream that has ended or has no topics of
   * this process. After a failover of Redis, skipped numbers are counted too, until the stream has passed them.
   */
  behind: (stream: object) => number | undefined
  /** Current counts of the streams in this process. */
  readonly counts: TopicsCounts
}

/** While the log has a problem, queries fail repeatedly. */
const REPORT_MS = 60_000

const plugin: FastifyPluginAsync<TopicsOptions> = async function (app, options) {
  const { log, observer, ...limits } = resolveTopicsOptions(options)
  const hub = new Hub(log, {
    maxTailBytes: limits.maxTailBytes,
    maxAllTailsBytes: limits.maxAllTailsBytes,
    maxTopics: limits.maxTopics,
    observer: guardObserver(observer, app.log),
    onTrouble: reportSeldom(log, app.log)
  })
  const producers = new Producers(hub, limits.maxEventBytes, app.log)
  const closing = new AbortController()
  setMaxListeners(0, closing.signal)
  app.decorate('topics', createTopics({ hub, producers, limits, closing: closing.signal }))
  app.addHook('preClose', async () => closing.abort())
  app.addHook('onClose', async () => {
    await producers.close()
    await log.stop()
  })
  // Last: what fails before it, such as a second registration, must not leave a log that nothing stops.
  await log.start(app.log)
}

/**
 * Logs one line, then at most one per minute, however many topics retry; nothing while the log itself has already
 * reported the problem with its connections.
 */
function reportSeldom (log: TopicLog, logger: LogLogger): (topic: string, err: unknown) => void {
  let reportedAt = -Infinity
  return (topic, err) => {
    if (log.health?.problem !== undefined || performance.now() - reportedAt < REPORT_MS) return
    reportedAt = performance.now()
    logger.error({ err, topic }, 'a topic cannot be read from the log, or written to it')
  }
}

/** The parts that `app.topics` is made of. */
interface TopicsInit {
  hub: Hub
  producers: Producers
  limits: TopicsLimits
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
    subscribe: (topics, options = {}) => {
      const checked = checkSubscribeOptions(options)
      const named = checkStartTopics(checkTopics(topics), checked)
      return createSubscription({ hub, topics: named, options: checked, closing })
    },
    read: async (topic, options = {}) => readTopic(log, checkTopic(topic), options),
    subscribers: topic => hub.readersOf(topic),
    behind: stream => hub.behind(stream),
    get counts () { return hub.counts },
    async produce (topic, source, options = {}) {
      checkProducerSource(source)
      return producers.start(checkTopic(topic), source, checkProduceOptions(options))
    },
    async stop (topic, options = {}) {
      checkOptions(options, STOP_CHECKS, badOption)
      return (await log.lease(checkTopic(topic), { do: 'stop', fence: options.lease })).outcome === 'ok'
    },
    producer: async topic => toProducerInfo(topic, await log.lease(checkTopic(topic), { do: 'look' })),
    close: async topic => log.close(checkTopic(topic)),
    async delete (topic, options = {}) {
      checkOptions(options, DELETE_CHECKS, badOption)
      return log.delete(checkTopic(topic), options)
    },
    async info (topic) {
      const { ends } = await log.locate(checkTopic(topic), ORIGIN)
      // A look at a lease may close the topic, which needs write permission; a client that only reads the state may
      // lack it.
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

const DELETE_CHECKS = { ifClosed: trueOrFalse }
const STOP_CHECKS = { lease: { range: 'the lease of a producer', ok: Number.isSafeInteger } }

/** The Fastify plugin: `app.topics`. Register `fastify-resumable-sse` as well for `reply.sse()`. */
const topics: FastifyPluginAsync<TopicsOptions> = fp(plugin, {
  name: 'fastify-resumable-sse-topics',
  fastify: FASTIFY_RANGE
})
export default topics
export { topics }

declare module 'fastify' {
  interface FastifyInstance {
    /** Durable topics. */
    topics: Topics
  }
}
