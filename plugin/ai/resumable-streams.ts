import type { Producer, Topics } from '../topics/index.ts'
import { findRun, isComplete, isMissing, isTaken, readRun, startOf, toWebStream } from './stored-run.ts'
import type { RunsOptions } from './stored-run.ts'

/** Options of `createResumableStreamContext()`. */
export interface ResumableStreamContextOptions extends Omit<RunsOptions, 'prefix'> {
  /** The app's topics: `app.topics`. */
  topics: Topics
  /** Prefix of the topics' names. Default `resumable-stream/`. */
  keyPrefix?: string | undefined
  /** Receives a promise that settles when a stream has ended, to keep the process alive until then. Default none. */
  waitUntil?: ((promise: Promise<unknown>) => void) | null | undefined
}

/** Creates the strings of a stream. Called only if the stream does not exist yet. */
export type MakeStringStream = () => AsyncIterable<string> | ReadableStream<string>

/**
 * The methods of the package `resumable-stream`, over a log. A stream outlives its readers, and its text outlives the
 * producer's process: if the producer dies, a reader receives the stored text, then an error.
 */
export interface ResumableStreamContext {
  /** Starts a stream, or joins the existing one. Null if it is complete. */
  resumableStream: (
    id: string,
    make: MakeStringStream,
    skipCharacters?: number
  ) => Promise<ReadableStream<string> | null>
  /**
   * Starts a stream; a completed one is replaced. Rejects with 409 `TOPICS_PRODUCER_EXISTS` if it is still being
   * written.
   */
  createNewResumableStream: (
    id: string,
    make: MakeStringStream,
    skipCharacters?: number
  ) => Promise<ReadableStream<string>>
  /**
   * Joins a stream, from its beginning without the first `skipCharacters`. Null if it is complete, undefined if it does
   * not exist.
   */
  resumeExistingStream: (id: string, skipCharacters?: number) => Promise<ReadableStream<string> | null | undefined>
  /** Null if the stream does not exist, `DONE` if it is complete, otherwise true. */
  hasExistingStream: (id: string) => Promise<null | true | 'DONE'>
  /** Ends a stream, in whichever process it is being written. False if it is not being written. */
  stopExistingStream: (id: string) => Promise<boolean>
}

/** Resumable streams of strings over topics, in place of those of `resumable-stream`. */
export function createResumableStreamContext (options: ResumableStreamContextOptions): ResumableStreamContext {
  const { topics, keyPrefix = 'resumable-stream/', waitUntil, ...producing } = options
  const topicOf = (id: string): string => keyPrefix + id

  async function produce (topic: string, make: MakeStringStream): Promise<Producer> {
    const producer = await topics.produce(topic, () => toEvents(make()), producing)
    waitUntil?.(producer.done)
    return producer
  }

  async function read (topic: string, skip = 0): Promise<ReadableStream<string>> {
    const startingAfter = startOf(await findRun(topics, topic))
    return toWebStream(skipText(readRun(topics, topic, { startingAfter }), skip))
  }

  async function resume (id: string, skip?: number): Promise<ReadableStream<string> | null | undefined> {
    const info = await topics.info(topicOf(id))
    if (isMissing(info)) return undefined
    return isComplete(info) ? null : read(topicOf(id), skip)
  }

  return {
    async resumableStream (id, make, skip) {
      try {
        await produce(topicOf(id), make)
        return await read(topicOf(id), skip)
      } catch (error) {
        if (!isTaken(error)) throw error
        return await resume(id, skip) ?? null
      }
    },
    async createNewResumableStream (id, make, skip) {
      const topic = topicOf(id)
      await topics.delete(topic, { ifClosed: true })
      await produce(topic, make)
      return read(topic, skip)
    },
    resumeExistingStream: resume,
    async hasExistingStream (id) {
      const info = await topics.info(topicOf(id))
      return isMissing(info) ? null : isComplete(info) ? 'DONE' : true
    },
    stopExistingStream: id => topics.stop(topicOf(id))
  }
}

/** As JSON: a chunk may be cut inside a surrogate pair, or contain characters that an event cannot. */
async function * toEvents (chunks: AsyncIterable<string>): AsyncGenerator<{ data: string }> {
  for await (const chunk of chunks) yield { data: JSON.stringify(chunk) }
}

async function * skipText (events: AsyncIterable<{ data: string }>, skip: number): AsyncGenerator<string> {
  // Clients can send any number, and a negative one would return the end of each chunk.
  let left = skip > 0 ? skip : 0
  for await (const { data } of events) {
    const chunk = JSON.parse(data) as string
    if (left < chunk.length || chunk === '') yield chunk.slice(left)
    left = Math.max(0, left - chunk.length)
  }
}
