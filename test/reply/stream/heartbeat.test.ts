import t from 'tap'
import { createHook } from 'node:async_hooks'
import type { CloseReason, SseStream } from '../../../plugin/index.ts'
import { HeartbeatTimer } from '../../../plugin/reply/stream/heartbeat.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, get, open, stall } from '../../support/clients/client.ts'
import { manual } from '../../support/documents/manual.ts'
import { stuck, tick, until } from '../../support/until.ts'

const BLOCK = 'x'.repeat(200_000)
const never = new Promise<never>(() => {})
const beats = (text: string): number => text.split('\n:\n').length - 1

t.test('an idle stream gets a comment at each interval; a busy one, or one without heartbeats, gets none', async t => {
  const app = await buildApp(t, { heartbeatMs: 40 })
  const done = new AbortController()
  app.get('/quiet', (request, reply) => reply.sse(async function * () { await never }))
  app.get('/off', (request, reply) => reply.sse(async function * () { await never }, { heartbeatMs: 0 }))
  app.get('/busy', (request, reply) => reply.sse(async function * () {
    while (!done.signal.aborted) {
      yield 'a'
      await new Promise(resolve => setImmediate(resolve))
    }
  }))
  const url = await listen(app)
  const [quiet, off, busy] = await Promise.all([open(t, `${url}/quiet`), open(t, `${url}/off`), open(t, `${url}/busy`)])
  // The preamble, followed by comments; there may be more than five by now.
  await quiet.inbox.until(text => text.startsWith(':\nretry: 3000\n' + ':\n'.repeat(5)))
  const left = await open(t, `${url}/quiet`)
  left.close()
  await left.inbox.ended()
  await quiet.inbox.until(text => beats(text) > 8)
  done.abort()
  t.equal(off.inbox.text, ':\nretry: 3000\n')
  t.match(await busy.inbox.ended(), /^:\nretry: 3000\n(data: a\n\n)+$/)
})

t.test('one timer runs for all streams with the same interval, and only while there are any', async t => {
  const running = new Set<number>()
  const hook = createHook({
    init (id, type) { if (type === 'Timeout') running.add(id) },
    destroy (id) { running.delete(id) }
  }).enable()
  t.teardown(() => { hook.disable() })
  const timer = new HeartbeatTimer()
  const members = Array.from({ length: 5 }, () => ({ tick () {} }))
  for (const member of members) timer.add(member, 10_000)
  t.equal(running.size, 1)
  timer.add(members[0]!, 20_000)
  t.equal(running.size, 2)
  timer.remove(members[0]!, 20_000)
  timer.remove(members[0]!, 20_000)
  for (const member of members) timer.remove(member, 10_000)
  // Hooks are notified one tick after a stream is destroyed.
  await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
  t.equal(running.size, 0)
})

t.test('a comment of the application counts as bytes, and delays the heartbeat', async t => {
  const app = await buildApp(t, { heartbeatMs: 40, retryMs: false })
  let stream!: SseStream
  app.get('/', (request, reply) => {
    stream = reply.sse()
    const timer = setInterval(() => { stream.comment('here') }, 2)
    t.teardown(() => clearInterval(timer))
  })
  app.get('/plain', (request, reply) => { reply.sse() })
  const url = await listen(app)
  const [commented, plain] = [await open(t, url), await open(t, `${url}/plain`)]
  await plain.inbox.until(text => beats(text) > 3)
  t.match(commented.inbox.text, /^:\n(: here\n)+$/)
  const { events, bytes } = stream.written
  t.same([events, (bytes - 2) % ': here\n'.length], [0, 0])
})

t.test('a stream under backpressure gets no heartbeat', async t => {
  const app = await buildApp(t, { heartbeatMs: 40 })
  let stream: SseStream | undefined
  const closed = new Promise<CloseReason>(resolve => {
    app.get('/', (request, reply) => { stream = reply.sse(undefined, { onClose: resolve }) })
  })
  const client = await stall(t, await listen(app), '/')
  await until(() => stream !== undefined)
  await stream?.send({ data: 'x'.repeat(20_000_000) })
  const bytes = stream?.written.bytes
  t.equal(await closed, 'slow', 'two heartbeats passed')
  t.same(stream?.written, { events: 1, bytes })
  client.socket.destroy()
})

t.test('a frozen client is destroyed after two heartbeats without a byte, and a slow one is not', async t => {
  // Long enough that on a busy machine the slow client does not appear frozen.
  const app = await buildApp(t, { heartbeatMs: 600 })
  const frozen = manual(app, '/frozen')
  const slow = manual(app, '/slow')
  const url = await listen(app)
  await stall(t, url, '/frozen')
  const slowClient = await stall(t, url, '/slow')
  const reading = setInterval(() => { slowClient.socket.read(200_000) }, 5)
  t.teardown(() => clearInterval(reading))
  slowClient.socket.removeAllListeners('data')
  const [frozenStream, slowStream] = [await frozen.stream, await slow.stream]
  const sends = [frozenStream.send({ data: BLOCK.repeat(60) }), slowStream.send({ data: BLOCK.repeat(60) })]
  t.equal(await frozen.reason, 'slow')
  t.equal(frozenStream.bufferedBytes, 0)
  await until(() => slowStream.bufferedBytes === 0)
  t.equal(slowStream.isOpen, true)
  t.same(await Promise.all(sends), [true, true])
})

t.test('a stream that has ended has two heartbeats to flush', async t => {
  // Long enough that on a busy machine the pending bytes are seen before the connection is cut.
  const app = await buildApp(t, { heartbeatMs: 600 })
  const { stream: opening, reason } = manual(app)
  await stall(t, await listen(app), '/')
  const stream = await opening
  // More than the kernel accepts, and ended before a heartbeat can find it frozen.
  stream.push({ data: BLOCK.repeat(60) })
  stream.end()
  t.equal(await reason, 'end')
  await until(() => stream.bufferedBytes > 0)
  await until(() => stream.bufferedBytes === 0)
})

// Regression: the time-out that watched for a stall stayed on the connection, which was destroyed while the next
// handler was running.
t.test('a stream that was watched for a stall leaves its connection to the next request, however long that takes', async t => {
  // Long enough that on a busy machine the client is not cut off before it continues reading.
  const app = await buildApp(t, { heartbeatMs: 1_000, maxBufferedBytes: 1024 })
  // Fastify interprets 0 as "the default".
  app.server.keepAliveTimeout = 0
  const { stream: opening } = manual(app)
  app.get('/late', async (request, reply) => {
    await new Promise(resolve => setTimeout(resolve, 2_500))
    reply.header('connection', 'close')
    return 'late'
  })
  const client = await connect(t, await listen(app))
  client.socket.pause()
  client.send(get('/'))
  const stream = await opening
  await stream.send({ data: 'x'.repeat(10_000_000) })
  await stuck(stream)
  tick(stream)
  stream.end()
  tick(stream)
  client.socket.resume()
  await client.inbox.until(text => text.endsWith('\r\n0\r\n\r\n'))
  client.send(get('/late'))
  t.match((await client.inbox.ended()).slice(-10), /late$/)
})

t.test('without heartbeats a tick writes nothing, and a client that reads nothing is cut after twice the default interval', async t => {
  const app = await buildApp(t, { heartbeatMs: 0, retryMs: false })
  const { stream: opening } = manual(app)
  const client = await connect(t, await listen(app))
  client.send(get('/'))
  await client.inbox.until(':\n')
  client.socket.pause()
  const stream = await opening
  for (let n = 0; n < 10; n++) tick(stream)
  t.equal(stream.written.bytes, 2)
  await stream.send({ data: BLOCK.repeat(60) })
  await stuck(stream)
  await until(() => {
    tick(stream)
    return !stream.isOpen
  })
  t.equal(stream.closeReason, 'slow')
})

t.test('a maximum lifetime ends a stream, shortened at random so that clients do not reconnect together', async t => {
  const app = await buildApp(t, { maxLifetimeMs: 300, lifetimeJitter: 1 })
  const ended: number[] = []
  const reasons = new Set<CloseReason>()
  let opened = 0
  app.get('/', (request, reply) => {
    const n = opened++
    return reply.sse(async function * () { await never }, { onClose: reason => { ended.push(n); reasons.add(reason) } })
  })
  app.get(
    '/fixed',
    (request, reply) => reply.sse(async function * () { await never }, { maxLifetimeMs: 1, lifetimeJitter: 0 })
  )
  app.get('/forever', (request, reply) => reply.sse(async function * () { await never }, { maxLifetimeMs: 0 }))
  const url = await listen(app)
  const forever = await open(t, `${url}/forever`)
  t.equal(await (await open(t, `${url}/fixed`)).inbox.ended(), ':\nretry: 3000\n')
  const clients = await Promise.all(Array.from({ length: 20 }, () => open(t, url)))
  await Promise.all(clients.map(({ inbox }) => inbox.ended()))
  t.same(reasons, new Set(['lifetime']))
  t.not(ended.join(), [...ended].sort((a, b) => a - b).join(), 'not in the order in which they were opened')
  t.equal(forever.inbox.isOver, false)
})
