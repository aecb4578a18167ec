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
  const { prefix = 'assistant-streams/', ...producing } = options
  /** The streams that this store is writing. */
  const runs = new Map<string, PushedRun>()

  function topicOf (streamId: string): string {
    if (ID.test(streamId)) return prefix + streamId
    throw new ResumableStreamError('invalid-id', `Invalid streamId: ${streamId} (must match ${String(ID)})`)
  }

  async function acquireLease (
    streamId: string,
    { ttlMs = producing.ttlMs }: { readonly ttlMs?: number } = {}
  ): Promise<ResumableStreamAcquisition> {
    const topic = topicOf(streamId)
    try {
      const run = await PushedRun.start(topics, topic, { ...producing, ttlMs })
      runs.set(topic, run)
      // Otherwise the run would be kept for as long as the process runs.
      void run.over.then(() => { if (runs.get(topic) === run) runs.delete(topic) })
      return { role: 'producer', lease: { token: String(run.lease) } }
    } catch (error) {
      if (isTaken(error)) return { role: 'consumer' }
      throw error
    }
  }

  /** The run that this store is writing; undefined for a lease that is not its own. */
  function runOf (topic: string, lease: ResumableStreamLease | undefined): PushedRun | undefined {
    const run = runs.get(topic)
    return lease === undefined || String(run?.lease) === lease.token ? run : undefined
  }

  async function required (streamId: string): Promise<TopicInfo> {
    const info = await topics.info(topicOf(streamId))
    if (isMissing(info)) throw new ResumableStreamError('missing', `Stream not found: ${streamId}`)
    return info
  }

  return {
    acquire: async (streamId, options) => (await acquireLease(streamId, options)).role,
    acquireLease,
    async append (streamId, chunk, lease) {
      const run = runOf(topicOf(streamId), lease)
      const info = await required(streamId)
      if (info.isClosed) throw new ResumableStreamError('finalized', `Stream already finalized: ${streamId}`)
      if (run === undefined) throw new ResumableStreamError('missing', `Not the producer of stream: ${streamId}`)
      await run.append([Buffer.from(chunk).toString('base64')])
    },
    async finalize (streamId, status, error, lease) {
      const topic = topicOf(streamId)
      const { isClosed } = await required(streamId)
      const run = runOf(topic, lease)
      if (isClosed || run === undefined) return false
      const { reason } = await run.close(status === 'error' ? new Error(error ?? 'Stream errored') : undefined)
      return reason === 'done' || reason === 'failed'
    },
    async * read (streamId, cursor, signal) {
      await required(streamId)
      yield * readEntries(topics, topicOf(streamId), cursor, signal)
    },
    async status (streamId) {
      const info = await topics.info(topicOf(streamId))
      return isMissing(info) ? 'missing' : !info.isClosed ? 'streaming' : isComplete(info) ? 'done' : 'error'
    },
    async delete (streamId) {
      const topic = topicOf(streamId)
      if (isMissing(await topics.info(topic))) return
      await topics.delete(topic)
      runs.delete(topic)
      await topics.publish(topic, DELETED)
    }
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
