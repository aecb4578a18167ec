import type {
  ProduceOptions, SubscribeOptions, TopicEvent, TopicInfo, Topics
} from '../topics/index.ts'
import { topicsErrors } from '../topics/index.ts'
import { errors } from './errors.ts'

/** Where the streams of an adapter are stored, and how their producers behave. */
export interface RunsOptions
  extends Pick<ProduceOptions, 'leaseMs' | 'batchMs' | 'batchEvents' | 'ttlMs' | 'describeError'> {
  /** Prefix of the topic names. */
  prefix?: string | undefined
}

/** The number in an id `<ms>-<n>`; 0 for null. */
export function numberOf (id: string | null): number {
  return id === null ? 0 : Number(id.slice(id.indexOf('-') + 1))
}

/** True if everything that the producer intended to write is stored. */
export function isComplete ({ isClosed, reason }: TopicInfo): boolean {
  return isClosed && (reason === 'done' || reason === 'closed')
}

/** True if nothing was ever written to the topic, or if it was deleted or has expired. */
export function isMissing ({ isClosed, producer }: TopicInfo): boolean {
  return !isClosed && producer === null
}

/** A topic, and where its latest run starts. */
export interface StoredRun {
  info: TopicInfo
  /** The number of the last event before the first one that is retained. */
  startingAfter: number
  /** True when retention has dropped the beginning of the run. */
  isTrimmed: boolean
}

/** Finds the run of a topic: that of its current producer, or else the last one. */
export async function findRun (topics: Topics, topic: string): Promise<StoredRun> {
  // In this order, the accepted number cannot be ahead of the count.
  const { accepted } = await topics.producer(topic)
  const info = await topics.info(topic)
  const { first, last, count } = info
  return { info, startingAfter: first === null ? numberOf(last) : numberOf(first) - 1, isTrimmed: count < accepted }
}

/** Where to start in order to read a run from its first event. Throws `AI_STREAM_INCOMPLETE` if that was trimmed. */
export function startOf ({ info, startingAfter, isTrimmed }: StoredRun): number {
  if (isTrimmed) throw new errors.AI_STREAM_INCOMPLETE(info.topic, 'its beginning is gone by the retention of the log')
  return startingAfter
}

/**
 * Yields the events of a topic from a start on, until it ends or the signal aborts. Throws `AI_STREAM_INCOMPLETE` at
 * the end of a topic whose producer failed or died, and if events are missing.
 */
export async function * readRun (
  topics: Topics,
  topic: string,
  start: Pick<SubscribeOptions, 'after' | 'startingAfter' | 'signal'>
): AsyncGenerator<TopicEvent> {
  for await (const item of topics.subscribe(topic, start)) {
    if (item.kind === 'event') yield item
    if (item.kind === 'gap') throw new errors.AI_STREAM_INCOMPLETE(topic, `events are missing (${item.reason})`)
  }
  // A loop that starts at the end of a topic has no item that says how it ended.
  if (start.signal?.aborted !== true) await checkEnd(topics, topic)
}

async function checkEnd (topics: Topics, topic: string): Promise<void> {
  const { reason, message } = await topics.info(topic)
  if (reason === 'failed') throw new errors.AI_STREAM_INCOMPLETE(topic, message)
  if (reason === 'lost') throw new errors.AI_STREAM_INCOMPLETE(topic, 'its producer is gone')
}

/** True for the errors of a topic that has a producer or was closed. */
export function isTaken (error: unknown): boolean {
  return error instanceof topicsErrors.TOPICS_PRODUCER_EXISTS || error instanceof topicsErrors.TOPICS_CLOSED
}

/** Converts an async iterable to a web stream that pulls items only on demand. */
export function toWebStream<T> (items: AsyncGenerator<T>): ReadableStream<T> {
  return new ReadableStream<T>({
    async pull (controller) {
      const { done, value } = await items.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel () {
      await items.return(undefined)
    }
  }, { highWaterMark: 0 })
}
