import type { TopicInfo, Topics } from '../topics/index.ts'
import { PushedRun } from './pushed-run.ts'
import { findRun, isComplete, isMissing, isTaken, numberOf, readRun, startOf } from './stored-run.ts'
import type { RunsOptions } from './stored-run.ts'

/** `error`: the producer failed, died or was stopped. */
export type ResumableStreamStatus = 'streaming' | 'done' | 'error' | 'missing'
/** Identifies the producer of a stream. */
export interface ResumableStreamLease { readonly token: string }
export interface ResumableStreamEntry { readonly cursor: string, readonly chunk: Uint8Array }
/** The writer of a stream: the caller with this lease, or another process. */
export type ResumableStreamAcquisition =
  | { readonly role: 'producer', readonly lease: ResumableStreamLease }
  | { readonly role: 'consumer' }

/**
 * The contract of the same name in assistant-ui (`assistant-stream/resumable`), over topics. Only the store that
 * acquired a stream can write to it; when its process dies the stream ends with the status `error`.
 */
export interface ResumableStreamStore {
  acquire: (streamId: string, options?: { readonly ttlMs?: number }) => Promise<'producer' | 'consumer'>
  acquireLease: (streamId: string, options?: { readonly ttlMs?: number }) => Promise<ResumableStreamAcquisition>
  append: (streamId: string, chunk: Uint8Array, lease?: ResumableStreamLease) => Promise<void>
  finalize: (
    streamId: string,
    status: 'done' | 'error',
    error?: string,
    lease?: ResumableStreamLease
  ) => Promise<boolean>
  read: (streamId: string, cursor: string, signal: AbortSignal) => AsyncIterable<ResumableStreamEntry>
  status: (streamId: string) => Promise<ResumableStreamStatus>
  delete: (streamId: string) => Promise<void>
}

/** Like the package's own error: callers depend on its `code`. */
class ResumableStreamError extends Error {
  readonly code: 'missing' | 'finalized' | 'invalid-id'
  constructor (code: ResumableStreamError['code'], message: string) {
    super(message)
    this.name = 'ResumableStreamError'
    this.code = code
  }
}

/** The only event of a deleted stream: it ends the stream's readers, in whichever process they are. */
const DELETED = { event: 'deleted', data: '' }
/** The ids that the contract allows. */
const ID = /^[A-Za-z0-9_.:-]{1,256}$/

/** A store for `createResumableStreamContext()` of assistant-ui. Default `prefix`: `assistant-streams/`. */
export function createAssistantStreamStore (topics: Topics, options: RunsOptions = {}): ResumableStreamStore {
  const streams = new AssistantStreams(topics, options)
  return {
    acquire: async (streamId, given) => (await streams.acquire(streamId, given)).role,
    acquireLease: (streamId, given) => streams.acquire(streamId, given),
    append: (streamId, chunk, lease) => streams.append(streamId, chunk, lease),
    finalize: (streamId, status, error, lease) => streams.finalize(streamId, status, error, lease),
    read: (streamId, cursor, signal) => streams.read(streamId, cursor, signal),
    status: streamId => streams.status(streamId),
    delete: streamId => streams.delete(streamId)
  }
}

/** The streams of one store. */
class AssistantStreams {
  readonly #topics: Topics
  readonly #prefix: string
  readonly #producing: Omit<RunsOptions, 'prefix'>
  /** The streams that this store is writing, by topic. */
  readonly #runs = new Map<string, PushedRun>()

  constructor (topics: Topics, { prefix = 'assistant-streams/', ...producing }: RunsOptions) {
    this.#topics = topics
    this.#prefix = prefix
    this.#producing = producing
  }

  async acquire (
    streamId: string,
    { ttlMs = this.#producing.ttlMs }: { readonly ttlMs?: number } = {}
  ): Promise<ResumableStreamAcquisition> {
    const topic = this.#topicOf(streamId)
    try {
      const run = await PushedRun.start(this.#topics, topic, { ...this.#producing, ttlMs })
      this.#keep(topic, run)
      return { role: 'producer', lease: { token: String(run.lease) } }
    } catch (error) {
      if (isTaken(error)) return { role: 'consumer' }
      throw error
    }
  }

  async append (streamId: string, chunk: Uint8Array, lease?: ResumableStreamLease): Promise<void> {
    const run = this.#runOf(streamId, lease)
    const { isClosed } = await this.#required(streamId)
    if (isClosed) throw new ResumableStreamError('finalized', `Stream already finalized: ${streamId}`)
    if (run === undefined) throw new ResumableStreamError('missing', `Not the producer of stream: ${streamId}`)
    await run.append([Buffer.from(chunk).toString('base64')])
  }

  async finalize (
    streamId: string,
    status: 'done' | 'error',
    error?: string,
    lease?: ResumableStreamLease
  ): Promise<boolean> {
    const { isClosed } = await this.#required(streamId)
    const run = this.#runOf(streamId, lease)
    if (isClosed || run === undefined) return false
    const { reason } = await run.close(status === 'error' ? new Error(error ?? 'Stream errored') : undefined)
    return reason === 'done' || reason === 'failed'
  }

  async * read (streamId: string, cursor: string, signal: AbortSignal): AsyncGenerator<ResumableStreamEntry> {
    await this.#required(streamId)
    yield * readEntries(this.#topics, this.#topicOf(streamId), cursor, signal)
  }

  async status (streamId: string): Promise<ResumableStreamStatus> {
    const info = await this.#topics.info(this.#topicOf(streamId))
    return isMissing(info) ? 'missing' : !info.isClosed ? 'streaming' : isComplete(info) ? 'done' : 'error'
  }

  async delete (streamId: string): Promise<void> {
    const topic = this.#topicOf(streamId)
    if (isMissing(await this.#topics.info(topic))) return
    await this.#topics.delete(topic)
    this.#runs.delete(topic)
    await this.#topics.publish(topic, DELETED)
  }

  #topicOf (streamId: string): string {
    if (ID.test(streamId)) return this.#prefix + streamId
    throw new ResumableStreamError('invalid-id', `Invalid streamId: ${streamId} (must match ${String(ID)})`)
  }

  /** Until it is over: otherwise the run would be kept for as long as the process runs. */
  #keep (topic: string, run: PushedRun): void {
    this.#runs.set(topic, run)
    void run.over.then(() => { if (this.#runs.get(topic) === run) this.#runs.delete(topic) })
  }

  /** The run that this store is writing; undefined for a lease that is not its own. */
  #runOf (streamId: string, lease: ResumableStreamLease | undefined): PushedRun | undefined {
    const run = this.#runs.get(this.#topicOf(streamId))
    return lease === undefined || String(run?.lease) === lease.token ? run : undefined
  }

  async #required (streamId: string): Promise<TopicInfo> {
    const info = await this.#topics.info(this.#topicOf(streamId))
    if (isMissing(info)) throw new ResumableStreamError('missing', `Stream not found: ${streamId}`)
    return info
  }
}

async function * readEntries (
  topics: Topics,
  topic: string,
  cursor: string,
  signal: AbortSignal
): AsyncGenerator<ResumableStreamEntry> {
  const run = await findRun(topics, topic)
  const start = cursor === '' ? { startingAfter: startOf(run) } : { after: cursor }
  for await (const { id, event, data } of readRun(topics, topic, { ...start, signal })) {
    if (event === undefined) yield { cursor: id, chunk: new Uint8Array(Buffer.from(data, 'base64')) }
    // The `deleted` event of an earlier stream with this id precedes the first entry of this one.
    else if (numberOf(id) > numberOf(run.info.last)) return
  }
}
