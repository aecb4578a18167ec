import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createAssistantStreamStore } from '../../plugin/ai/index.ts'
import type { ResumableStreamEntry, ResumableStreamLease, ResumableStreamStore } from '../../plugin/ai/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { heapAfterGc } from '../support/processes/heap.ts'
import { until } from '../support/until.ts'
import { abandon, collect, startTopics } from '../support/apps/topics-only.ts'

// Tests the contract that assistant-ui documents for `ResumableStreamStore`, and assistant-ui's own context over this
// store.

interface Context {
  run: (id: string, make: () => ReadableStream<Uint8Array>) => Promise<ReadableStream<Uint8Array>>
  resume: (id: string) => Promise<ReadableStream<Uint8Array> | null>
  status: (id: string) => Promise<string>
}

const PACKAGE = 'assistant-stream/resumable'
const { createResumableStreamContext } = await import(PACKAGE) as {
  createResumableStreamContext: (options: object) => Context
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const never = new AbortController().signal

async function build (
  t: Test,
  log = new MemoryLog()
): Promise<{ store: ResumableStreamStore, other: ResumableStreamStore, subscribers: (id: string) => number }> {
  const { topics } = await startTopics(t, log)
  return {
    store: createAssistantStreamStore(topics),
    other: createAssistantStreamStore(topics),
    subscribers: id => topics.subscribers(`assistant-streams/${id}`)
  }
}

const chunks = (entries: readonly ResumableStreamEntry[]): number[][] => entries.map(({ chunk }) => [...chunk])

async function acquire (store: ResumableStreamStore, id: string): Promise<ResumableStreamLease> {
  const acquired = await store.acquireLease(id)
  if (acquired.role !== 'producer') throw new Error('consumer')
  return acquired.lease
}

t.test('exactly one caller of many produces, also after the end', async t => {
  const { store, other } = await build(t)
  const roles = await Promise.all(Array.from({ length: 10 }, (_, at) => (at % 2 ? store : other).acquire('s')))
  t.equal(roles.filter(role => role === 'producer').length, 1)
  const lease = await acquire(store, 't')
  await store.finalize('t', 'done', undefined, lease)
  t.equal(await other.acquire('t'), 'consumer')
  t.same(await store.acquireLease('t'), { role: 'consumer' })
})

t.test('entries are replayed, followed until the end, and continued after a cursor', async t => {
  const { store, other, subscribers } = await build(t)
  t.equal(await store.status('s'), 'missing')
  const lease = await acquire(store, 's')
  t.equal(await other.status('s'), 'streaming')
  const chunk = bytes(0, 255)
  await store.append('s', chunk, lease)
  chunk[0] = 9
  await store.append('s', bytes(), lease)
  const reading = collect(other.read('s', '', never))
  await until(() => subscribers('s') === 1)
  await store.append('s', bytes(10, 13))
  t.equal(await store.finalize('s', 'done', undefined, lease), true)
  t.equal(await store.finalize('s', 'error', 'late', lease), false)
  const entries = await reading
  t.same(chunks(entries), [[0, 255], [], [10, 13]])
  t.same(chunks(await collect(other.read('s', entries[0]!.cursor, never))), [[], [10, 13]])
  t.equal(await other.status('s'), 'done')
  await t.rejects(store.append('s', bytes(1), lease), { code: 'finalized' })
})

t.test('an error is thrown after the last entry, unless the reader has left', async t => {
  const { store } = await build(t)
  const lease = await acquire(store, 's')
  await store.append('s', bytes(1), lease)
  t.equal(await store.finalize('s', 'error', 'the model broke', lease), true)
  t.equal(await store.status('s'), 'error')
  const seen: number[][] = []
  await t.rejects(async () => {
    for await (const { chunk } of store.read('s', '', never)) seen.push([...chunk])
  }, { message: /the model broke/ })
  t.same(seen, [[1]])
  const leaving = new AbortController()
  for await (const entry of store.read('s', '', leaving.signal)) {
    t.ok(entry)
    leaving.abort()
  }
  const plain = await acquire(store, 'plain')
  await store.finalize('plain', 'error', undefined, plain)
  await t.rejects(collect(store.read('plain', '', never)), { message: /Stream errored/ })
})

t.test('streams that are missing, invalid or owned by another user are rejected', async t => {
  const { store, other } = await build(t)
  await t.rejects(store.append('s', bytes(1)), { code: 'missing' })
  await t.rejects(store.finalize('s', 'done'), { message: /not found/ })
  await t.rejects(collect(store.read('s', '', never)), { message: /not found/ })
  await t.rejects(store.status('a b'), { code: 'invalid-id' })
  const lease = await acquire(store, 's')
  await t.rejects(other.append('s', bytes(1), lease), { code: 'missing' })
  t.equal(await other.finalize('s', 'done', undefined, lease), false)
  await t.rejects(store.append('s', bytes(1), { token: '1' }), { code: 'missing' })
  t.equal(await store.finalize('s', 'done', undefined, { token: '1' }), false)
})

t.test('deleting a stream ends its readers and frees the id; the previous producer cannot write to the new stream', async t => {
  const { store, other, subscribers } = await build(t)
  const old = await acquire(store, 's')
  await store.append('s', bytes(1), old)
  const reading = collect(other.read('s', '', never))
  await until(() => subscribers('s') === 1)
  await store.delete('s')
  t.same(chunks(await reading), [[1]])
  t.equal(await other.status('s'), 'missing')
  await store.delete('s')
  const lease = await acquire(store, 's')
  await t.rejects(store.append('s', bytes(2), old), { code: 'missing' })
  t.equal(await store.finalize('s', 'done', undefined, old), false)
  await store.append('s', bytes(3), lease)
  await store.finalize('s', 'done', undefined, lease)
  t.same(chunks(await collect(other.read('s', '', never))), [[3]])
})

t.test('a producer that is superseded or dies ends its stream with an error', async t => {
  const log = new MemoryLog()
  const { topics } = await startTopics(t, log)
  const store = createAssistantStreamStore(topics)
  const lease = await acquire(store, 's')
  const stopping = topics.stop('assistant-streams/s')
  await stopping
  await until(async () => await store.status('s') === 'error')
  t.equal(await store.finalize('s', 'done', undefined, lease), false)
  await abandon(log, 'assistant-streams/dead', [Buffer.from([7]).toString('base64')])
  const seen: number[][] = []
  await t.rejects(async () => {
    for await (const { chunk } of store.read('dead', '', never)) seen.push([...chunk])
  }, { message: /its producer is gone/ })
  t.same(seen, [[7]])
  t.equal(await store.status('dead'), 'error')
})

t.test('an unavailable log is an error of the acquisition', async t => {
  const { topics } = await startTopics(t)
  const store = createAssistantStreamStore({ ...topics, produce: async () => { throw new Error('away') } })
  await t.rejects(store.acquire('s'), { message: 'away' })
})

t.test('assistant-ui runs, resumes and reports failures through it', async t => {
  const { store, other } = await build(t)
  const [here, there] = [store, other].map(store => createResumableStreamContext({ store, ttlMs: 60_000 }))
  const encoder = new TextEncoder()
  const make = (): ReadableStream<Uint8Array> =>
    ReadableStream.from(['Hello', ' world'].map(word => encoder.encode(word)))
  t.equal(await there!.resume('s'), null)
  const first = here!.run('s', make)
  t.equal(await text(await first), 'Hello world')
  t.equal(await text(await there!.run('s', () => { throw new Error('made twice') })), 'Hello world')
  t.equal(await text((await there!.resume('s'))!), 'Hello world')
  t.equal(await here!.status('s'), 'done')
  const broken = await here!.run(
    'broken',
    () => new ReadableStream({ start: controller => { controller.error(new Error('no model')) } })
  )
  await t.rejects(text(broken), { message: /no model/ })
  t.equal(await there!.status('broken'), 'error')
})

// Regression: each stream was kept in memory for as long as its producer's process ran.
t.test('nothing is kept of streams that have ended', async t => {
  const { topics } = await startTopics(t, new MemoryLog())
  const producers: WeakRef<object>[] = []
  const produce: typeof topics.produce = async (...args) => {
    const producer = await topics.produce(...args)
    producers.push(new WeakRef(producer))
    return producer
  }
  const store = createAssistantStreamStore({ ...topics, produce })
  for (let at = 0; at < 20; at++) {
    const lease = await acquire(store, `s${at}`)
    await store.finalize(`s${at}`, 'done', undefined, lease)
  }
  await until(async () => {
    await new Promise(resolve => setImmediate(resolve))
    heapAfterGc()
    return producers.filter(ref => ref.deref()).length <= 1
  })
  t.equal(producers.length, 20)
})
