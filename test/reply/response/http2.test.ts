import t from 'tap'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import { mock } from 'node:test'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { CloseReason, SsePluginOptions } from '../../../plugin/index.ts'
import { greedyRequest, makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** An HTTP/2 server with one route; cleartext unless a certificate is given. */
async function serve (
  t: Test,
  handler: Handler,
  options: SsePluginOptions = {},
  https?: ReturnType<typeof makeCertificate>,
  server: FastifyServerOptions = {}
) {
  // Fastify types each kind of server separately; for a route they are the same.
  const app = Fastify(
    { ...server, http2: true, ...(https && { https }) } as unknown as FastifyServerOptions
  ) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(sse, { drainMs: 500, ...options })
  app.get('/', handler)
  app.get('/cut', (request, reply) => {
    const stream = reply.sse()
    void stream.send({ data: 'a' }).then(() => setImmediate(() => stream.destroy('revoked')))
    return reply
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { app, origin: `${https ? 'https' : 'http'}://127.0.0.1:${port}` }
}

const never = new Promise<never>(() => {})

/** The reason passed to `onClose`, once. */
function reasonOf (): { onClose: (reason: CloseReason) => void, reason: Promise<CloseReason> } {
  let onClose!: (reason: CloseReason) => void
  const reason = new Promise<CloseReason>(resolve => { onClose = resolve })
  return { onClose, reason }
}

const certificate = makeCertificate()

for (const kind of ['h2', 'h2c'] as const) {
  const https = kind === 'h2' ? certificate : undefined

  t.test(`H17 ${kind}: a stream is sent to its end, without connection headers`, async t => {
    const { origin } = await serve(t, (request, reply) => reply.header('x-own', '1').sse(['a', 'b']), {}, https)
    const session = await openSession(t, origin, { ca: certificate.cert })
    const { headers, inbox } = await openHttp2(session, '/')
    t.match(headers, {
      ':status': 200, 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-own': '1'
    })
    for (const name of ['connection', 'keep-alive', 'transfer-encoding', 'content-length']) {
      t.notOk(name in headers, name)
    }
    t.equal(await inbox.ended(), ':\nretry: 3000\ndata: a\n\ndata: b\n\n')
    t.equal(session.destroyed, false)
  })

  t.test(`${kind}: events of every size arrive completely and in order, and then the end`, async t => {
    const sizes = [10, 20_000, 1_000_000, 0, 500, 500, 3_000, 300_000, 10, 70_000]
    const texts = sizes.map((size, n) => `${n} ${'x'.repeat(size)}`)
    const { origin } = await serve(t, (request, reply) => {
      const stream = reply.sse()
      // Some events are written before the headers, and some after them.
      for (const data of texts.slice(0, 3)) stream.push({ data })
      setImmediate(() => setImmediate(() => {
        stream.write({ bytes: Buffer.alloc(0), events: 0 })
        for (const data of texts.slice(3)) stream.push({ data })
        stream.end()
      }))
      return reply
    }, { maxBufferedBytes: 4_000_000 }, https)
    const { inbox } = await openHttp2(await openSession(t, origin, { ca: certificate.cert }), '/')
    const text = await inbox.ended()
    t.ok(text === `:\nretry: 3000\n${texts.map(data => `data: ${data}\n\n`).join('')}`, `${text.length} characters`)
  })

  t.test(`H17 ${kind}: RST_STREAM from the client ends the stream and returns its generator`, async t => {
    for (const code of [
      http2.constants.NGHTTP2_NO_ERROR, http2.constants.NGHTTP2_CANCEL, http2.constants.NGHTTP2_INTERNAL_ERROR
    ]) {
      const { onClose, reason } = reasonOf()
      let onFinally = (): void => {}
      const finallyRan = new Promise<void>(resolve => { onFinally = resolve })
      const { origin } = await serve(t, (request, reply) => reply.sse(async function * (stream) {
        try {
          yield 'a'
          await once(stream.signal, 'abort')
        } finally { onFinally() }
      }, { onClose }), {}, https)
      const { inbox, stream } = await openHttp2(await openSession(t, origin, { ca: certificate.cert }), '/')
      await inbox.until('data: a')
      stream.close(code)
      t.equal(await reason, 'client', `code ${code}`)
      await finallyRan
    }
  })

  t.test(`H17 ${kind}: a session that is destroyed ends all its streams`, async t => {
    const reasons = Array.from({ length: 5 }, reasonOf)
    const left = [...reasons]
    const { origin } = await serve(t, (request, reply) => reply.sse(async function * () {
      await never
    }, { onClose: left.pop()!.onClose }), {}, https)
    const session = await openSession(t, origin, { ca: certificate.cert })
    for (let n = 0; n < 5; n++) await openHttp2(session, '/')
    session.destroy()
    t.same(await Promise.all(reasons.map(each => each.reason)), Array(5).fill('client'))
  })
}

t.test('a stream whose client stalls and then leaves settles its send, returns its generator and destroys its Readable', async t => {
  const { onClose, reason } = reasonOf()
  const big = 'x'.repeat(200_000)
  let onFinally = (): void => {}
  const finallyRan = new Promise<void>(resolve => { onFinally = resolve })
  const readable = Readable.from(Array.from({ length: 1000 }, () => big))
  const sources = [
    async function * () { try { for (;;) yield big } finally { onFinally() } },
    readable,
    undefined
  ]
  const sends: Promise<boolean>[] = []
  const { app, origin } = await serve(t, (request, reply) => {
    const source = sources.shift()
    if (source) return reply.sse(source, { onClose })
    const stream = reply.sse()
    for (let n = 0; n < 10; n++) sends.push(stream.send({ data: big }))
    app.server.emit('sent')
  })
  const session = await openSession(t, origin, { settings: { initialWindowSize: 65_535 } })
  const sent = once(app.server, 'sent')
  const streams = []
  for (let n = 0; n < 3; n++) streams.push((await openHttp2(session, '/', { isStalled: true })).stream)
  await sent
  for (const stream of streams) stream.close(http2.constants.NGHTTP2_CANCEL)
  await finallyRan
  t.equal(await reason, 'client')
  if (!readable.closed) await once(readable, 'close')
  const results = await Promise.all(sends)
  t.equal(results[0], true)
  t.equal(results.at(-1), false)
})

/** A peer that requests a stream and then reads no further bytes from its connection. */
async function freeze (t: Test, origin: string): Promise<net.Socket> {
  const { port, protocol } = new URL(origin)
  const isSecure = protocol === 'https:'
  const options = { host: '127.0.0.1', port: Number(port) }
  const socket = isSecure
    ? tls.connect({ ...options, ca: certificate.cert, ALPNProtocols: ['h2'] })
    : net.connect(options)
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  await once(socket, isSecure ? 'secureConnect' : 'connect')
  socket.pause()
  socket.write(greedyRequest)
  return socket
}

// Regression: a peer that reads nothing does not receive RST_STREAM either: closing its stream gracefully kept it and
// its buffered data for as long as TCP kept the connection; and the connection blocked app.close() indefinitely.
for (const https of [undefined, certificate]) {
  const kind = https ? 'h2' : 'h2c'

  t.test(`${kind}: the stream of a frozen peer ends after two heartbeats, and then its connection`, async t => {
    const { onClose, reason } = reasonOf()
    let gone = (): void => {}
    const isGone = new Promise<void>(resolve => { gone = resolve })
    const { app, origin } = await serve(t, (request, reply) => {
      reply.raw.once('close', gone)
      return reply.sse(async function * () { for (;;) yield 'x'.repeat(100_000) }, { onClose })
    }, { heartbeatMs: 40 }, https)
    let session!: http2.Http2Session
    const sessionClosed = new Promise<void>(resolve => {
      app.server.on('session', (each: http2.Http2Session) => { session = each; each.once('close', resolve) })
    })
    await freeze(t, origin)
    t.equal(await reason, 'slow')
    await isGone
    t.equal(session.destroyed, false, 'the stream ends first, without waiting for the connection')
    await sessionClosed
  })

  t.test(`${kind}: a frozen peer does not hold up app.close()`, async t => {
    const { onClose, reason } = reasonOf()
    const { app, origin } = await serve(t, (request, reply) => reply.sse(async function * () {
      // More than all buffers on the way hold.
      yield 'x'.repeat(20_000_000)
      setImmediate(() => app.server.emit('stuck'))
      await never
    }, { onClose }), { drainMs: 100 }, https)
    const isStuck = once(app.server, 'stuck')
    await freeze(t, origin)
    await isStuck
    await app.close()
    t.equal(await reason, 'shutdown')
  })
}

t.test('a cut stream does not affect the other streams of a working connection', async t => {
  const { onClose, reason } = reasonOf()
  const { origin } = await serve(t, (request, reply) => reply.sse(async function * () {
    yield 'hello'
    await never
  }, { onClose }))
  const session = await openSession(t, origin)
  const other = await openHttp2(session, '/')
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const pinged = once(session, 'ping')
  const { stream } = await openHttp2(session, '/cut')
  await once(stream, 'close')
  t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL)
  // A connection preserves order: the ping was answered before this request arrived.
  await pinged
  await openHttp2(session, '/')
  mock.timers.tick(600_000)
  t.same([session.destroyed, other.inbox.isOver], [false, false])
  await openHttp2(session, '/')
  session.destroy()
  t.equal(await reason, 'client')
})

t.test('a stream that has ended but cannot be flushed is cut after two heartbeats', async t => {
  const { onClose, reason } = reasonOf()
  // The connection would be closed next.
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const { origin } = await serve(t, (request, reply) => reply.sse('x'.repeat(1_000), { onClose }), { heartbeatMs: 20 })
  const session = await openSession(t, origin, { settings: { initialWindowSize: 10 } })
  const { stream } = await openHttp2(session, '/', { isStalled: true })
  t.equal(await reason, 'end')
  await once(stream, 'close')
  t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL)
})

t.test('a 10 MB event is received completely', async t => {
  const { origin } = await serve(t, (request, reply) => reply.sse(['x'.repeat(10_000_000)]))
  const { inbox } = await openHttp2(await openSession(t, origin), '/')
  t.ok(await inbox.ended() === `:\nretry: 3000\ndata: ${'x'.repeat(10_000_000)}\n\n`)
})

t.test('heartbeats keep an idle stream open', async t => {
  const { origin } = await serve(t, (request, reply) => reply.sse(async function * () {
    yield 'x'
    await never
  }), { heartbeatMs: 20 })
  const { inbox } = await openHttp2(await openSession(t, origin), '/')
  await inbox.until('data: x\n\n:\n:\n')
})

t.test('trailers are sent after the events', async t => {
  const { origin } = await serve(t, (request, reply) => reply.trailer('x-count', async () => '1').sse('a'))
  const session = await openSession(t, origin)
  const stream = session.request({ ':path': '/' })
  stream.resume()
  const [trailers] = await once(stream, 'trailers') as [http2.IncomingHttpHeaders]
  t.match(trailers, { 'x-count': '1' })
})

// Fastify closes idle HTTP/2 sessions only if it is asked to.
t.test('app.close() ends each stream with its own retry time', async t => {
  const { app, origin } = await serve(t, (request, reply) => reply.sse(async function * () {
    await never
  }), {}, undefined, { forceCloseConnections: true })
  const session = await openSession(t, origin)
  const opened = []
  for (let n = 0; n < 20; n++) opened.push(await openHttp2(session, '/'))
  const closed = app.close()
  const texts = await Promise.all(opened.map(({ inbox }) => inbox.ended()))
  const retries = texts.map(text => Number(/retry: (\d+)\n$/.exec(text)?.[1]))
  t.ok(retries.every(ms => ms > 0))
  t.ok(new Set(retries).size > 10)
  await closed
})

t.test('406 and errors before the first byte have their status', async t => {
  const { origin } = await serve(
    t,
    (request, reply) => reply.sse(async () => { throw Object.assign(new Error('no'), { statusCode: 403 }) })
  )
  const session = await openSession(t, origin)
  t.equal((await openHttp2(session, '/', { headers: { accept: 'text/html' } })).headers[':status'], 406)
  const { headers, inbox } = await openHttp2(session, '/')
  t.match(headers, { ':status': 403, 'content-type': /json/ })
  t.match(await inbox.ended(), '"no"')
})
