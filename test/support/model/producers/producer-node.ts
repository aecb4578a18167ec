import { silentLogger } from '../../redis/redis-server.ts'
import { deferred } from '../../../../plugin/common/deferred.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { errors } from '../../../../plugin/topics/errors.ts'
import { Hub } from '../../../../plugin/topics/feed/hub.ts'
import type { LeaseReply, LeaseRequest } from '../../../../plugin/topics/log/lease.ts'
import type { LogEntry, TopicEnds, TopicLog } from '../../../../plugin/topics/log/topic-log.ts'
import { Producers } from '../../../../plugin/topics/producers/index.ts'
import { checkProduceOptions } from '../../../../plugin/topics/producers/options.ts'
import { retryUntilAvailable } from '../../../../plugin/topics/retry.ts'
import type { Received } from '../connection.ts'
import { LeaseWatch } from '../lease-watch.ts'
import { LoopConnection } from '../loop-connection.ts'

/**
 * The task of one writer: publish the events `after + 1` to `total` of a producer; others published the earlier ones.
 */
export interface ProduceOrder {
  topic: string
  /** Unique in a round. */
  writer: string
  producerId: string
  after: number
  total: number
  /** The source breaks off after this event; greater than `total` if it does not. */
  breakAt: number
  takeOver: boolean
  leaseMs: number
  batchEvents: number
  /** Time between two events, in ms. */
  paceMs: number
}

/** How a writer ended: with a reason, or rejected with a code. */
export interface WriterEnd { reason?: string, code?: string, lease?: number, accepted?: number }

/** Messages that a node sends on its own. */
export type NodeSaid =
  | { kind: 'accepted', writer: string, accepted: number }
  | { kind: 'read', topic: string, received: Received }
  | { kind: 'late', what: string }

/** One process: a log, its producers and its readers. */
export class ProducerNode {
  readonly log: TopicLog
  readonly #hub: Hub
  readonly #producers: Producers
  readonly #watch: LeaseWatch
  readonly #say: (said: NodeSaid) => void

  constructor (log: TopicLog, say: (said: NodeSaid) => void) {
    this.log = log
    this.#say = say
    this.#watch = new LeaseWatch(log, what => { say({ kind: 'late', what }) })
    this.#hub = new Hub(this.#watch, { maxTailBytes: 1_000, onTrouble: () => {} })
    this.#producers = new Producers(this.#hub, 1_000, silentLogger)
  }

  /** Settles when the writer has ended. */
  async produce (order: ProduceOrder): Promise<WriterEnd> {
    const { topic, writer, producerId, after, takeOver, leaseMs, batchEvents } = order
    const onAppend = (accepted: number): void => { this.#say({ kind: 'accepted', writer, accepted }) }
    const options = checkProduceOptions({ producerId, after, takeOver, leaseMs, batchEvents, batchMs: 0, onAppend })
    const lease = deferred<number>()
    try {
      const producer = await this.#producers.start(
        topic,
        ({ signal }) => eventsOf(order, lease.promise, signal),
        options
      )
      lease.settle(producer.lease)
      const { reason } = await producer.done
      return { reason, lease: producer.lease, accepted: producer.accepted }
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === undefined) throw error
      return { code }
    }
  }

  /** Continues to read after a cursor; settles with true at the end of the topic, with false if the log fails. */
  async read (topic: string, cursor: string | undefined): Promise<boolean> {
    const onEvent = (received: Received): void => {
      if (received.event === 'stream.end') this.#watch.rest()
      this.#say({ kind: 'read', topic, received })
    }
    this.#watch.begin(topic)
    const connection = new LoopConnection({ log: this.#watch, hub: this.#hub }, [topic], cursor, onEvent)
    await connection.over
    this.#watch.rest()
    if (connection.failure !== undefined) throw connection.failure
    return connection.isFinished
  }

  lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    return this.#untilAvailable(() => this.log.lease(topic, request))
  }

  ends (topic: string): Promise<TopicEnds> {
    return this.#untilAvailable(async () => (await this.log.locate(topic, ORIGIN)).ends)
  }

  entries (topic: string): Promise<LogEntry[]> {
    return this.#untilAvailable(() => this.log.read(topic, ORIGIN, { count: 10_000, bytes: 10_000_000 }))
  }

  async #untilAvailable<T> (ask: () => Promise<T>): Promise<T> {
    return (await retryUntilAvailable(ask, () => false, () => {}))!
  }
}

/** Each event contains its number and the lease that wrote it. */
async function * eventsOf (order: ProduceOrder, leased: Promise<number>, signal: AbortSignal): AsyncGenerator<string> {
  const { topic, producerId, writer, after, total, breakAt, paceMs } = order
  const lease = await leased
  for (let at = after + 1; at <= total && !signal.aborted; at++) {
    if (at > breakAt) throw new errors.TOPICS_INTERRUPTED('a break')
    yield `${topic} ${producerId} ${at} ${lease} ${writer}`
    if (paceMs > 0) await new Promise(resolve => { setTimeout(resolve, paceMs) })
  }
}
