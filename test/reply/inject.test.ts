import t from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import type { CloseReason, SseStream } from '../../plugin/index.ts'
import { buildApp } from '../support/apps/app.ts'
import { tick } from '../support/until.ts'

const never = new Promise<never>(() => {})

t.test('injectSse reads events as a client does: ids carry over, comments and retry are kept apart', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(stream => {
    stream.comment('hi')
    return [{ data: '0' }, { id: 1, data: 'a\nü' }, { event: 'e', retry: 7, data: {} }]
  }))
  const stream = await injectSse(app, { url: '/', headers: { 'last-event-id': '5' } })
  t.match(stream, { statusCode: 200, headers: { 'content-type': 'text/event-stream' } })
  const events = [{ id: undefined, event: 'message', data: '0' }, {
    id: '1', event: 'message', data: 'a\nü'
  }, { id: '1', event: 'e', data: '{}' }]
  t.same(await stream.end(), events)
  t.same(stream.events, events)
  t.equal(stream.retryMs, 7)
  t.match(stream.text, ': hi\n')
  stream.close()
})

// Regression: both waited in one slot, and the first of them was forgotten.
t.test('next() returns events as they arrive, and concurrent calls return consecutive events', async t => {
  const app = await buildApp(t)
  let stream!: SseStream
  app.get('/', (request, reply) => { stream = reply.sse() })
  const client = await injectSse(app, '/')
  const all = Promise.all([client.next(), client.next(2), client.end()])
  for (let n = 0; n < 4; n++) await stream.send({ data: n })
  stream.end()
  const [one, two, end] = await all
  t.same([one, two, end].map(events => events.map(({ data }) => data)), [['0'], ['1', '2'], ['0', '1', '2', '3']])
  t.match(await client.next(), [{ data: '3' }])
  await t.rejects(client.next(), { message: 'the stream ended after 4 events, 5 were waited for' })
})

t.test('iterating yields every event once and ends with the stream', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    yield 'a'
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    yield 'b'
  }))
  const client = await injectSse(app, '/')
  const seen: string[] = []
  for await (const { data } of client) seen.push(data)
  t.same(seen, ['a', 'b'])
})

t.test('close() disconnects as a client does, and a server that cuts the stream ends it', async t => {
  const app = await buildApp(t)
  const reasons: Promise<CloseReason>[] = []
  app.get('/', (request, reply) => reply.sse(async function * (stream) {
    reasons.push(stream.closed)
    yield 'a'
    await never
  }))
  app.get(
    '/ticked',
    (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => { stream.end(); tick(stream) })) })
  )
  app.get(
    '/cut',
    (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => stream.destroy('revoked'))) })
  )
  const client = await injectSse(app, '/')
  await client.next()
  client.close()
  t.equal((await client.end()).length, 1)
  t.same(await Promise.all(reasons), ['client'])
  t.same(await (await injectSse(app, '/cut')).end(), [])
  t.same(await (await injectSse(app, '/ticked')).end(), [], 'there is no connection that could stall')
})

t.test('a status other than 200 is returned as it is', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.code(401).send({ no: true }))
  const refused = await injectSse(app, '/')
  t.same([refused.statusCode, await refused.end(), refused.text], [401, [], '{"no":true}'])
  t.equal((await injectSse(app, { url: '/nowhere', headers: { accept: '*/*' } })).statusCode, 404)
})

// Regression: a destroyed response counts no bytes, so an endless source that awaits nothing itself never had to wait
// for room; it blocked the event loop, 'close' was never emitted, and the test that left the stream hung.
t.test('a source that never pauses ends when the test disconnects', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    for (let n = 1; ; n++) yield { id: n, data: n }
  }))
  const stream = await injectSse(app, '/')
  await stream.next(2)
  stream.close()
  t.ok((await stream.end()).length >= 2)
})

t.test('an option that is misspelled or out of range is an error', async t => {
  const app = await buildApp(t)
  for (const options of [{ timeout: 5 }, { timeoutMs: -1 }, { timeoutMs: 2 ** 31 }, null]) {
    await t.rejects(injectSse(app, '/', options as object), { code: 'FST_SSE_BAD_OPTION' })
  }
  t.equal((await injectSse(app, '/', { timeoutMs: undefined })).statusCode, 404)
})
