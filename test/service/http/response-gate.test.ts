import { once } from 'node:events'
import Fastify from 'fastify'
import t from 'tap'
import { ConnectionCounts } from '../../../service/http/connections/connections.ts'
import { boundPipelining } from '../../../service/http/connections/pipelining.ts'
import { listen } from '../../support/apps/app.ts'
import { connect, dial, get, open, stall } from '../../support/clients/client.ts'
import { certificateFiles, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'
import { occupy } from '../../support/service/occupy.ts'
import { metricsOf } from '../../support/service/metrics.ts'
import { TestService } from '../../support/service/service-app.ts'

// Regression: clients that read no response: 100 connections, each with 400 requests for the OpenAPI document and a
// small window, held 540 MB without credentials and without a time limit. Only event streams and history pages were
// limited.

const cutSlow = async (origin: string): Promise<number | undefined> =>
  (await metricsOf(origin)).get('sse_connections_cut_total{reason="slow"}')

t.test('large responses of every kind are limited together, and small ones pass', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '40000' })
  const { socket, inbox, send } = await connect(t, service.origin)
  send(get('/events?topic=news'))
  await inbox.until('stream.open')
  // Its turn does not come while the stream is open.
  await occupy(service, send, '/openapi.json')
  const ask = (path: string) => service.call(path)
  t.equal((await ask('/openapi.json')).status, 503)
  t.match(await ask('/metrics'), { status: 503, json: { code: 'SERVICE_BUSY' } })
  t.equal((await ask('/healthz')).status, 200)
  t.equal((await ask('/topics/news/events?maxBytes=10')).status, 503, 'pages of history have the same limit')
  socket.destroy()
  await until(async () => (await ask('/openapi.json')).status === 200)
})

// Regression: a control character takes six bytes as JSON: 8 pages of 16 MiB took 2 GB with a limit of 128 MiB, and
// stopped the process for 6 s.
t.test('a page of history counts with its size as JSON', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '700000', MAX_EVENT_BYTES: '200000' })
  for (const [topic, character] of [['plain', 'x'], ['control', '\u0001']] as const) {
    await service.publish(topic, character.repeat(150_000), { type: 'text/plain' })
  }
  const { socket, inbox, send } = await connect(t, service.origin)
  send(get('/events?topic=news'))
  await inbox.until('stream.open')
  await occupy(service, send, '/openapi.json')
  const ask = (topic: string) => service.call(`/topics/${topic}/events?maxBytes=10`)
  t.equal((await ask('control')).status, 503)
  t.equal((await ask('plain')).status, 200)
  socket.destroy()
  await until(async () => (await ask('control')).status === 200)
  t.equal((await ask('control')).text.length, 900_000 + (await ask('plain')).text.length - 150_000 + 2)
})

t.test('a large page of history leaves time for other work', async t => {
  const service = await TestService.start(t)
  for (let at = 0; at < 40; at++) await service.publish('news', '\u0001'.repeat(250_000), { type: 'text/plain' })
  for (const accept of ['application/json', 'application/x-ndjson']) {
    let turns = 0
    const other = setInterval(() => { turns++ }, 0)
    const page = await service.app.inject({ url: '/topics/news/events?maxBytes=16777216', headers: { accept } })
    clearInterval(other)
    t.equal(page.statusCode, 200)
    t.ok(turns > 2, `${turns} turns`)
  }
})

t.test('an error response is no longer than a message, whatever the request contained', async t => {
  const service = await TestService.start(t)
  const long = 'x'.repeat(12_000)
  const answers = [
    await service.call(`/${long}`),
    await service.call(`/topics?${long}=1`),
    await service.call('/topics/news/events', { headers: { accept: `text/${long}` } })
  ]
  t.strictSame(answers.map(({ status }) => status), [404, 400, 406])
  for (const { text } of answers) t.ok(text.length < 1_200, `${text.length}`)
})

t.test('a client that reads no byte of its responses is cut off', async t => {
  // No request is partially received, which would also close the connection.
  const service = await TestService.start(t, {
    HEARTBEAT_MS: '100', REPLICAS_TIMEOUT_MS: '100'
  }, { requestMs: 300, checkMs: 3_600_000 })
  const topics = Array.from({ length: 40 }, (_, at) => `${at}`.padEnd(120, 'x'))
  for (const topic of topics) await service.publish(topic, { data: '' })
  t.ok((await service.call('/topics')).text.length < 8_192, 'too small to be counted')
  const { socket, send } = await stall(t, service.origin, '/topics')
  const [served] = await once(service.app.server, 'request')
  // More than the buffers of the system hold.
  send(get('/topics').repeat(10_000))
  await once(served.socket, 'close')
  socket.destroy()
})

t.test('an idle stream with rare heartbeats is not cut off', async t => {
  const service = await TestService.start(t, { HEARTBEAT_MS: '500' }, { requestMs: 50, idleMs: 50, checkMs: 10 })
  const { inbox } = await open(t, `${service.origin}/events?topic=news`)
  await inbox.until(text => text.split(':\n').length > 3)
  t.equal(inbox.isOver, false)
})

t.test('a publish that waits for replicas is not cut off', async t => {
  const env = { HEARTBEAT_MS: '10', REPLICAS_TIMEOUT_MS: '5000' }
  const service = await TestService.start(t, env, { requestMs: 20, checkMs: 3_600_000 })
  const { publish } = service.app.topics
  service.app.topics.publish = async (...args) => {
    await new Promise(resolve => { setTimeout(resolve, 300) })
    return publish(...args)
  }
  t.equal((await service.publish('news', { data: 1 })).status, 201)
})

t.test('over HTTP/2 a response that is not read is cancelled, a stream is not', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, {
    TLS_CERT: cert, TLS_KEY: key, HEARTBEAT_MS: '60000'
  }, { requestMs: 50, checkMs: 20 })
  const session = await openSession(t, service.origin, {
    rejectUnauthorized: false, settings: { initialWindowSize: 0 }
  })
  const stream = await openHttp2(session, '/events?topic=news', { isStalled: true })
  for (let asked = 0; asked < 3; asked++) {
    const { stream } = await openHttp2(session, '/healthz', { isStalled: true })
    await once(stream, 'close')
    t.equal(stream.rstCode, 8, 'CANCEL')
  }
  t.equal(stream.stream.closed, false)
})

t.test('all pipelined requests together are limited, and those of a closed connection are released', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const counts = new ConnectionCounts(app)
  boundPipelining(app, counts, 10)
  let answer = (): void => {}
  const answered = new Promise<void>(resolve => { answer = resolve })
  app.get('/', async () => { await answered; return 'done' })
  const origin = await listen(app)
  const isCut = () => counts.closed.get('pipelining')
  const [first, second] = [await dial(origin), await dial(origin)]
  first.send(get('/').repeat(7))
  second.send(get('/').repeat(7))
  await until(() => isCut() === 1)
  await until(() => first.inbox.isOver || second.inbox.isOver)
  const rest = first.inbox.isOver ? second : first
  rest.socket.destroy()
  await until(() => counts.open === 0)
  const third = await connect(t, origin)
  third.send(get('/').repeat(11))
  answer()
  await third.inbox.until(text => text.split('done').length > 11)
  t.equal(isCut(), 1)
  third.send(get('/').repeat(11))
  await third.inbox.until(text => text.split('done').length > 22)
  t.equal(isCut(), 1, 'responses that were sent no longer wait')
})

t.test('a response that waits behind a stream has the same time limit, and is counted', async t => {
  const service = await TestService.start(t, {}, { requestMs: 100 })
  const { inbox, send } = await connect(t, service.origin)
  send(get('/events?topic=news') + get('/openapi.json'))
  await inbox.ended()
  t.equal(await cutSlow(service.origin), 1)
})
