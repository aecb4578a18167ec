import { text } from 'node:stream/consumers'
import t from 'tap'
import { createStreamDurability } from '../../plugin/ai/index.ts'
import type { StreamDurability } from '../../plugin/ai/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { Words } from '../support/apps/ai-sdk.ts'
import { until } from '../support/until.ts'
import { abandon, collect, startTopics } from '../support/apps/topics-only.ts'

interface Chunk { type: string, [name: string]: unknown }
type Durability = StreamDurability<Chunk>

/** The parts of the package that the tests use. */
interface TanStack {
  toServerSentEventsResponse: (stream: AsyncIterable<Chunk>, init: {
    durability: { adapter: Durability, batch?: number }
  }) => Response
  resumeServerSentEventsResponse: (init: { adapter: Durability }) => Response
  replayRunStream: (durability: Durability) => AsyncIterable<Chunk>
}

const PACKAGE = '@tanstack/ai'
const tanstack = await import(PACKAGE) as TanStack

const chunk = (delta: string): Chunk => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta, timestamp: 0 })
const deltas = (stored: ReadonlyArray<{ chunk: Chunk }>): unknown[] => stored.map(({ chunk: { delta } }) => delta)

t.test('each chunk has one offset, in order, and chunks are read after an offset while the run continues', async t => {
  const { topics } = await startTopics(t)
  const run = createStreamDurability<Chunk>(topics, { runId: '1' })
  t.equal(run.resumeFrom(), null)
  const offsets = [...await run.append([chunk('a'), chunk('b')]), ...await run.append([chunk('c')])]
  t.equal(new Set(offsets).size, 3)
  const reader = createStreamDurability<Chunk>(topics, { runId: '1', offset: offsets[0] })
  t.equal(reader.resumeFrom(), offsets[0])
  t.same(deltas(await reader.snapshot()), ['a', 'b', 'c'], 'at once, while the run is open')
  const rest = collect(reader.read(offsets[0]!))
  const whole = collect(reader.read('-1'))
  const late = collect(reader.read('now'))
  await until(() => topics.subscribers('runs/1') === 3)
  await run.append([chunk('d')])
  await run.close()
  t.same(deltas(await rest), ['b', 'c', 'd'])
  t.same((await whole).map(({ offset }) => offset).slice(0, 3), offsets)
  t.same(deltas(await late), ['d'])
  await run.close()
  t.same(deltas(await collect(reader.read('-1'))), ['a', 'b', 'c', 'd'], 'also afterwards')
})

t.test('runs that do not exist and invalid offsets are rejected', async t => {
  const { topics } = await startTopics(t)
  const none = createStreamDurability<Chunk>(topics, { runId: '1' })
  t.same(await none.snapshot(), [])
  await t.rejects(collect(none.read('-1')), { code: 'AI_STREAM_MISSING', statusCode: 404 })
  await none.append([chunk('a')])
  await t.rejects(collect(none.read('a:1')), { code: 'AI_BAD_OFFSET', statusCode: 400 })
  await t.rejects(createStreamDurability<Chunk>(topics, { runId: '1' }).append([chunk('b')]), {
    code: 'TOPICS_PRODUCER_EXISTS'
  })
  await none.close()
  await t.rejects(none.append([chunk('b')]), { code: 'TOPICS_CLOSED' })
  await createStreamDurability<Chunk>(topics, { runId: '2' }).close()
  t.same(await collect(createStreamDurability<Chunk>(topics, { runId: '2' }).read('-1')), [], 'closed without a chunk')
})

t.test('chunks that the log does not accept cause a rejection', async t => {
  const { topics } = await startTopics(t)
  const run = createStreamDurability<Chunk>(topics, { runId: '1' })
  t.same(await run.append([]), [])
  await topics.close('runs/1')
  await t.rejects(run.append([chunk('a')]), { code: 'TOPICS_CLOSED' })
})

t.test('a signal ends a read, and the death of the producer is an error', async t => {
  const log = new MemoryLog()
  const { topics } = await startTopics(t, log)
  await abandon(log, 'runs/1', [JSON.stringify(chunk('a'))], 400)
  const run = createStreamDurability<Chunk>(topics, { runId: '1' })
  const leaving = new AbortController()
  const left = collect(run.read('-1', leaving.signal))
  const seen: unknown[] = []
  await t.rejects(async () => {
    for await (const { chunk: { delta } } of run.read('-1')) {
      seen.push(delta)
      leaving.abort()
    }
  }, { code: 'AI_STREAM_INCOMPLETE' })
  t.same(seen, ['a'])
  t.ok((await left).length <= 1)
})

t.test('chunks that have been dropped are an error', async t => {
  const { topics } = await startTopics(t, new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] }))
  const run = createStreamDurability<Chunk>(topics, { runId: '1' })
  const [first] = await run.append([chunk('a'), chunk('b')])
  await run.append([chunk('c'), chunk('d')])
  await t.rejects(collect(run.read(first!)), {
    code: 'AI_STREAM_INCOMPLETE', message: /events are missing \(trimmed\)/
  })
  await t.rejects(collect(run.read('-1')), { code: 'AI_STREAM_INCOMPLETE', message: /its beginning is gone/ })
})

t.test('a snapshot reads as many pages as it needs', async t => {
  const { topics } = await startTopics(t)
  const run = createStreamDurability<Chunk>(topics, { runId: '1' })
  await run.append(Array.from({ length: 1_500 }, (_, at) => chunk(String(at))))
  t.equal((await run.snapshot()).length, 1_500)
})

t.test('TanStack AI streams through it, and resumes after a Last-Event-ID', async t => {
  const { topics } = await startTopics(t)
  const words = new Words()
  async function * answer (): AsyncGenerator<Chunk> {
    yield { type: 'RUN_STARTED', runId: '1', threadId: 't', timestamp: 0 }
    for await (const word of words) yield chunk(word)
    yield { type: 'RUN_FINISHED', runId: '1', threadId: 't', timestamp: 0, finishReason: 'stop' }
  }
  const response = tanstack.toServerSentEventsResponse(answer(), {
    durability: { adapter: createStreamDurability<Chunk>(topics, { runId: '1' }), batch: 1 }
  })
  words.say('a', 'b')
  words.end()
  const body = await text(response.body!)
  const ids = [...body.matchAll(/^id: ?(.*)$/gm)].map(([, id]) => id!)
  const positionOf = (text: string, chunk: string): string =>
    /id: ?(.*)\n$/.exec(text.slice(0, text.indexOf(chunk)).replace(/data: .*$/, ''))![1]!
  const afterA = positionOf(body, '"a"')
  const resumed = tanstack.resumeServerSentEventsResponse({
    adapter: createStreamDurability<Chunk>(topics, { runId: '1', offset: afterA })
  })
  const rest = await text(resumed.body!)
  t.same([...rest.matchAll(/^id: ?(.*)$/gm)].map(([, id]) => id), ids.slice(ids.indexOf(afterA) + 1))
  t.notMatch(rest, /"a"/)
  t.match(rest, /"b"[^]*RUN_FINISHED/)
  const replayed = await collect(tanstack.replayRunStream(createStreamDurability<Chunk>(topics, { runId: '1' })))
  t.equal(replayed.length, ids.length)
})
