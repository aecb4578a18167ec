import { show } from '../common/show.ts'
import type { Topics } from '../topics/index.ts'
import { errors } from './errors.ts'
import { PushedRun } from './pushed-run.ts'
import { findRun, isMissing, numberOf, readRun, startOf } from './stored-run.ts'
import type { RunsOptions } from './stored-run.ts'

/** The run, and where its reader continues. */
export interface StreamDurabilityInit extends RunsOptions {
  runId: string
  /** The client's `Last-Event-ID` or `offset`; null for the request that starts the run. Default null. */
  offset?: string | null | undefined
}

/** A stored chunk, and the offset after it. */
export interface StoredChunk<C> { offset: string, chunk: C }

/** The contract of the same name in TanStack AI (`@tanstack/ai`), over a topic. `C` is its `StreamChunk`. */
export interface StreamDurability<C> {
  resumeFrom: () => string | null
  /**
   * The first call starts the run. Rejects with `TOPICS_PRODUCER_EXISTS` or `TOPICS_CLOSED` if the topic already has
   * one.
   */
  append: (chunks: C[]) => Promise<string[]>
  /**
   * Yields the chunks after an offset (`-1` for all, `now` for new ones only) until the run ends. Throws
   * `AI_STREAM_MISSING`, `AI_BAD_OFFSET`, and `AI_STREAM_INCOMPLETE` at the end of a run whose producer died.
   */
  read: (offset: string, signal?: AbortSignal) => AsyncIterable<StoredChunk<C>>
  close: () => Promise<void>
  /** The chunks that are currently stored. */
  snapshot: () => Promise<Array<StoredChunk<C>>>
}

/** Offsets count the events of the topic, as `startingAfter` does. */
const OFFSET = /^[0-9]{1,15}$/

/** One run over a topic, for the request that starts it or for one that reads it. Default `prefix`: `runs/`. */
export function createStreamDurability<C> (topics: Topics, init: StreamDurabilityInit): StreamDurability<C> {
  const { runId, offset = null, prefix = 'runs/', ...producing } = init
  const topic = prefix + runId
  let run: Promise<PushedRun> | undefined
  /** The number of the last event in the topic before the run. */
  let before = 0

  async function start (): Promise<PushedRun> {
    const started = await PushedRun.start(topics, topic, producing)
    before = numberOf((await topics.info(topic)).last)
    return started
  }

  async function startingAfter (offset: string): Promise<number> {
    const run = await findRun(topics, topic)
    if (isMissing(run.info)) throw new errors.AI_STREAM_MISSING(topic)
    if (offset === '-1') return startOf(run)
    if (offset === 'now') return numberOf(run.info.last)
    if (!OFFSET.test(offset)) throw new errors.AI_BAD_OFFSET('-1, now, or one that append() returned', show(offset))
    return Number(offset)
  }

  return {
    resumeFrom: () => offset,
    async append (chunks) {
      run ??= start()
      const first = before + await (await run).append(chunks.map(chunk => JSON.stringify(chunk))) + 1
      return chunks.map((_, index) => String(first + index))
    },
    async * read (offset, signal) {
      for await (const { id, data } of readRun(topics, topic, { startingAfter: await startingAfter(offset), signal })) {
        yield { offset: String(numberOf(id)), chunk: JSON.parse(data) as C }
      }
    },
    async close () {
      run ??= start()
      await (await run).close()
    },
    snapshot: () => snapshot(topics, topic)
  }
}

async function snapshot<C> (topics: Topics, topic: string): Promise<Array<StoredChunk<C>>> {
  const stored: Array<StoredChunk<C>> = []
  let after: string | undefined
  for (;;) {
    const { events, cursor } = await topics.read(topic, { after, limit: 1_000 })
    if (events.length === 0) return stored
    for (const { id, data } of events) stored.push({ offset: String(numberOf(id)), chunk: JSON.parse(data) as C })
    after = cursor
  }
}
