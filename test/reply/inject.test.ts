import t from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import type { CloseReason, SseStream } from '../../plugin/index.ts'
import { buildApp } from '../support/app.ts'

const never = new Promise<never>(() => {})

t.test('injectSse reads events as a client does: ids carry over, comments and retry are kept apart', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(stream => {
    stream.comment('hi')
    return [{ data: '0' }, { id: 1, data: 'a\nü' }, { event: 'e', retry: 7, data: {} }]
  }))
  const stream = await injectSse(app, { url: '/', headers: { 'last-event-id': '5' } })
  t.match(stream, { statusCode: 200, headers: { 'content-type': 'text/event-stream' } })
  const events = [{ id: undefined, event: 'message', data: '0' }, { id: '1', event: 'message', data: 'a\nü' }, { id: '1', event: 'e', data: '{}' }]
  t.same(await stream.end(), events)
  t.same(stream.events, events)
  t.equal(stream.retryMs, 7)
  t.match(stream.text, ': hi\n')
  stream.close()
})

// Both waited on one slot, and the first of them was forgotten.
t.test('next() gives events as they come, and calls at the same time get one after the other', async t => {
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

t.test('iterating gives every event once and ends with the stream', async t => {
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

t.test('close() leaves as a client does, and a server that cuts the stream ends it', async t => {
  const app = await buildApp(t)
  const reasons: Promise<CloseReason>[] = []
  app.get('/', (request, reply) => reply.sse(async function * (stream) {
    reasons.push(stream.closed)
    yield 'a'
    await never
  }))
  app.get('/ticked', (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => { stream.end(); stream.tick() })) }))
  app.get('/cut', (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => stream.destroy('revoked'))) }))
  const client = await injectSse(app, '/')
  await client.next()
  client.close()
  t.equal((await client.end()).length, 1)
  t.same(await Promise.all(reasons), ['client'])
  t.same(await (await injectSse(app, '/cut')).end(), [])
  t.same(await (await injectSse(app, '/ticked')).end(), [], 'there is no connection that could stall')
})

t.test('a status other than 200 is given as it is', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.code(401).send({ no: true }))
  const refused = await injectSse(app, '/')
  t.same([refused.statusCode, await refused.end(), refused.text], [401, [], '{"no":true}'])
  t.equal((await injectSse(app, { url: '/nowhere', headers: { accept: '*/*' } })).statusCode, 404)
})

// A destroyed response counts no bytes, so an endless source that awaits nothing of its own never had to wait for room;
// it kept the loop to itself, 'close' never came, and the test that left the stream hung.
t.test('a source that never pauses by itself ends when the test leaves', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    for (let n = 1; ; n++) yield { id: n, data: n }
  }))
  const stream = await injectSse(app, '/')
  await stream.next(2)
  stream.close()
  t.ok((await stream.end()).length >= 2)
})
