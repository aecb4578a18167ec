import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import zlib from 'node:zlib'
import compress from '@fastify/compress'
import Fastify from 'fastify'
import type { FastifyReply, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { SseOptions, SseStream } from '../../../plugin/index.ts'
import { createFrame } from '../../../plugin/reply/frame.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, fetchAll, get, open } from '../../support/clients/client.ts'
import { GZIP, GzipReceiver, openGzip } from '../../support/clients/gzip.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { makeCertificate, openSession } from '../../support/network/http2-client.ts'

const quote = (index: number): string =>
  `id: ${index}\ndata: {"symbol":"S${index}","price":${100 + index / 7},"text":"ünïcode ✓"}\n\n`
const quotes = (count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, index) => quote(index)).join(''))
const hex = (bytes: number): string => randomBytes(bytes / 2).toString('hex')

const TINY = createFrame(['id: 1\n', Buffer.from('data: tiny\n\n')], 1)
const SHARED = createFrame([quotes(20)], 20)
const LARGE = createFrame([quotes(3_000)], 3_000)
const OWN = { bytes: quotes(20), events: 20 }
/** What cannot become smaller is stored; it needs more than one stored block. */
const RANDOM = createFrame([
  Buffer.from('data: '),
  Buffer.from(randomBytes(100_000).toString('latin1').replaceAll(/[\r\n\0]/g, '.')),
  Buffer.from('\n\n')
], 1)
/** Too large to be compressed in one turn of the event loop. */
const HUGE = createFrame(['id: 2\n', Buffer.from(`data: ${'y'.repeat(400_000)}\n\n`)], 1, 1_000)
const EMPTY = createFrame([], 0)

/**
 * Frames of every kind: before the first byte, alone in a turn of the loop, several in one turn, and before the end.
 */
async function writeAll (reply: FastifyReply): Promise<void> {
  const stream = reply.sse(undefined, { maxBufferedBytes: 100_000_000 })
  stream.push({ data: 'held' })
  stream.write(SHARED)
  stream.write(LARGE)
  while (!reply.raw.headersSent) await turn()
  for (const frames of [[SHARED], [OWN], [EMPTY], [TINY, OWN, SHARED], [RANDOM, TINY], [HUGE], [LARGE, HUGE, TINY]]) {
    for (const frame of frames) stream.write(frame)
    await turn()
    await turn()
  }
  stream.comment('last')
  stream.end({ data: 'end' })
}

const WHOLE = [
  ':\nretry: 3000\ndata: held\n\n', SHARED, LARGE, SHARED, OWN, TINY, OWN, SHARED, RANDOM, TINY, HUGE, LARGE, HUGE,
  TINY, ': last\ndata: end\n\n'
].map(part => typeof part === 'string' ? part : part.bytes.toString()).join('')

async function serve (t: Test, server: FastifyServerOptions = {}): Promise<string> {
  const app = await buildApp(t, {}, server)
  app.get('/', async (_request, reply) => {
    await writeAll(reply)
    return reply
  })
  app.get('/trailer', async (_request, reply) => {
    reply.trailer('etag', async () => 'checked')
    await writeAll(reply)
    return reply
  })
  return listen(app)
}

/** An app whose streams a test writes to by hand. */
async function serveByHand (
  t: Test,
  options: SseOptions = {}
): Promise<{ origin: string, opened: () => Promise<SseStream>, close: () => Promise<void> }> {
  const app = await buildApp(t, options)
  const streams: SseStream[] = []
  let wake = (): void => {}
  app.get('/', (_request, reply) => {
    streams.push(reply.sse())
    wake()
    return reply
  })
  const opened = async (): Promise<SseStream> => {
    while (streams.length === 0) await new Promise<void>(resolve => { wake = resolve })
    return streams.shift()!
  }
  return { origin: await listen(app), opened, close: async () => { await app.close() } }
}

t.test('a compressed stream has the same bytes as an uncompressed one, over HTTP/1.1', async t => {
  const origin = await serve(t)
  t.equal((await fetchAll(t, origin)).text, WHOLE)
  const client = await openGzip(t, origin)
  t.equal(client.headers['content-encoding'], 'gzip')
  t.equal(await client.verified(), WHOLE)
  t.ok(client.raw.length < WHOLE.length)
})

t.test('gzip itself accepts a compressed stream', async t => {
  const client = await openGzip(t, await serve(t))
  await client.inbox.ended()
  t.equal(execFileSync('gzip', ['-dc'], { input: client.raw, maxBuffer: 10_000_000 }).toString(), WHOLE)
})

t.test('a compressed stream has the same bytes over TLS', async t => {
  const client = await openGzip(t, await serve(t, { https: makeCertificate() } as FastifyServerOptions))
  t.equal(await client.verified(), WHOLE)
})

t.test('a compressed stream has the same bytes over HTTP/2', async t => {
  const origin = await serve(t, { http2: true } as FastifyServerOptions)
  const session = await openSession(t, origin)
  const stream = session.request({ ':path': '/', ...GZIP })
  const [headers] = await once(stream, 'response') as [Record<string, string>]
  t.equal(headers['content-encoding'], 'gzip')
  t.equal(await new GzipReceiver(stream).verified(), WHOLE)
})

t.test('a compressed stream has the same bytes over HTTP/1.0, which has no chunks', async t => {
  const { socket, send } = await connect(t, await serve(t))
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  send(get('/', { version: '1.0', headers: 'accept-encoding: gzip\r\n' }))
  await once(socket, 'close')
  const all = Buffer.concat(received)
  const head = all.indexOf('\r\n\r\n')
  t.notMatch(all.subarray(0, head).toString(), /transfer-encoding/i)
  t.equal(zlib.gunzipSync(all.subarray(head + 4)).toString(), WHOLE)
})

t.test('a compressed stream has the same bytes before the trailers of a response', async t => {
  const client = await openGzip(t, `${await serve(t)}/trailer`)
  t.equal(await client.verified(), WHOLE)
})

t.test('each event can be decoded before the next one is written', async t => {
  const { origin, opened } = await serveByHand(t, { gzipMinBytes: 500 })
  const [client, stream] = await Promise.all([openGzip(t, origin), opened()])
  for (const size of [1, 100, 5_000, 70_000, 10]) {
    stream.push({ data: `<${'x'.repeat(size)}>` })
    await client.inbox.until(`<${'x'.repeat(size)}>\n\n`)
    // Decoders that look for the end of a flush find it, whatever the block before it is.
    t.same([...client.raw.subarray(-4)], [0, 0, 0xff, 0xff])
  }
  stream.end()
  await client.verified()
})

t.test('a frame that many clients receive is compressed once', async t => {
  const { deflateRawSync } = zlib
  let calls = 0
  const count: typeof deflateRawSync = (...args) => {
    calls++
    return deflateRawSync(...args)
  }
  Object.assign(zlib, { deflateRawSync: count })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(zlib, { deflateRawSync })
    syncBuiltinESMExports()
  })
  const { origin, opened } = await serveByHand(t)
  const clients = await Promise.all(Array.from({ length: 20 }, () => openGzip(t, origin)))
  const streams = await Promise.all(clients.map(opened))
  const shared = createFrame([quotes(5)], 5)
  for (const stream of streams) {
    stream.write(shared)
    stream.write(createFrame([quotes(5)], 5, 0))
    stream.end()
  }
  for (const client of clients) t.equal(await client.verified(), `:\nretry: 3000\n${quotes(5)}${quotes(5)}`)
  t.equal(calls, 1, 'and a small one for a single client is not compressed at all')
})

t.test('small events add a constant number of bytes each', async t => {
  const { origin, opened } = await serveByHand(t)
  const [client, stream] = await Promise.all([openGzip(t, origin), opened()])
  await client.inbox.until(':\n')
  const before = client.raw.length
  for (let index = 0; index < 100; index++) {
    stream.push({ data: String(index) })
    await turn()
  }
  stream.end()
  const text = await client.verified()
  t.equal(client.raw.length - before, text.length - ':\nretry: 3000\n'.length + 100 * 10 + 10)
})

t.test('data that does not become smaller is stored uncompressed', async t => {
  const { origin, opened } = await serveByHand(t)
  const [client, stream] = await Promise.all([openGzip(t, origin), opened()])
  const random = randomBytes(2_000)
  stream.endWith(createFrame([random], 1))
  await client.inbox.ended()
  t.ok(zlib.gunzipSync(client.raw).includes(random))
  t.ok(client.raw.includes(random))
})

t.test('heartbeats are compressed too', async t => {
  const { origin, opened } = await serveByHand(t, { heartbeatMs: 10, retryMs: false })
  const [client, stream] = await Promise.all([openGzip(t, origin), opened()])
  await client.inbox.until(':\n:\n:\n')
  stream.end({ data: 'end' })
  t.match(await client.verified(), /^(:\n){3,}data: end\n\n$/)
})

t.test('a drain ends the stream with `retry:` and its gzip trailer', async t => {
  const { origin, close } = await serveByHand(t)
  const client = await openGzip(t, origin)
  await client.inbox.until('retry: 3000\n')
  await Promise.all([close(), client.inbox.ended()])
  t.match(await client.verified(), /^:\nretry: 3000\nretry: \d+\n$/)
})

t.test('a stream that is broken off has no gzip trailer, but all data that was written', async t => {
  const { origin, opened } = await serveByHand(t)
  const [client, stream] = await Promise.all([openGzip(t, origin), opened()])
  await client.inbox.until(':\n')
  stream.push({ data: 'last' })
  stream.breakOff()
  t.match(await client.inbox.ended(), /data: last\n\n$/)
  t.match(client.failure, { code: 'Z_BUF_ERROR' })
})

t.test('pending data is counted by its compressed size', async t => {
  const { origin, opened } = await serveByHand(t, { maxBufferedBytes: 100_000, highWaterMarkBytes: 10_000 })
  const [{ response }, stream] = await Promise.all([open(t, origin, { headers: GZIP }), opened()])
  response.pause()
  await turn()
  const { bytes } = stream.written
  stream.push({ data: 'x'.repeat(50_000) })
  t.ok(stream.written.bytes - bytes < 500)
  while (!stream.isFull) {
    stream.push({ data: hex(60_000) })
    await turn()
  }
  // Ten times what may wait, of which next to nothing remains.
  for (let index = 0; index < 20; index++) t.equal(stream.push({ data: 'x'.repeat(50_000) }), true)
  while (stream.push({ data: hex(60_000) })) await turn()
  t.equal(stream.closeReason, 'slow')
})

t.test('gzip is chosen according to the headers of the request', async t => {
  const app = await buildApp(t)
  app.get('/', (_request, reply) => reply.sse({ data: 'x' }))
  const encodingFor = async (accepted: string | undefined): Promise<unknown> => {
    const { headers } = await app.inject({
      url: '/', headers: accepted === undefined ? {} : { 'accept-encoding': accepted }
    })
    t.equal(headers.vary, 'accept-encoding')
    return headers['content-encoding']
  }
  const yes = ['gzip', 'GZip', 'x-gzip', 'gzip, deflate, br, zstd', 'br;q=1.0, gzip;q=0.8, *;q=0.1', '*', 'identity, gzip', 'gzip;q=0.001',
    'identity;q=0.5, gzip;q=1.000', ' deflate , gzip ;q=0.5', 'identity;q=0, *']
  const no = [undefined, '', 'identity', 'br', 'deflate', 'gzip;q=0', 'gzip;q=0.000', '*;q=0', 'gzip;q=0, *', 'identity, gzip;q=0.5', 'identity;q=0.9, *;q=0.8',
    'gzip;q=2', 'gzip;q=x', 'gzipped', 'br, x-gzip;q=0']
  for (const accepted of yes) t.equal(await encodingFor(accepted), 'gzip', accepted)
  for (const accepted of no) t.equal(await encodingFor(accepted), undefined, accepted ?? 'no header')
})

t.test('HEAD has the same headers', async t => {
  const app = await buildApp(t)
  app.get('/', (_request, reply) => reply.sse({ data: 'x' }))
  const request = { url: '/', headers: GZIP }
  const [head, { headers }] = [await app.inject({ ...request, method: 'HEAD' }), await app.inject(request)]
  const without = ({ date, 'transfer-encoding': _, ...rest }: Record<string, unknown>): object => rest
  t.equal(head.headers['content-encoding'], 'gzip')
  t.same(without(head.headers), without(headers))
  t.equal(head.body, '')
})

t.test('existing values of `vary` are kept', async t => {
  const app = await buildApp(t)
  app.get<{ Querystring: { vary: string | string[] } }>(
    '/',
    (request, reply) => reply.header('vary', request.query.vary).sse({ data: 'x' })
  )
  const varyOf = async (query: string): Promise<unknown> => (await app.inject(`/?${query}`)).headers.vary
  t.equal(await varyOf('vary=origin'), 'origin, accept-encoding')
  t.equal(await varyOf('vary=origin&vary=accept'), 'origin, accept, accept-encoding')
  t.equal(await varyOf('vary=Accept-Encoding,%20Origin'), 'Accept-Encoding, Origin')
  t.equal(await varyOf('vary=*'), '*')
})

t.test('`gzipMinBytes: false` turns it off', async t => {
  const app = await buildApp(t)
  app.get('/', { sse: { gzipMinBytes: false } }, (_request, reply) => reply.sse({ data: 'x' }))
  const { headers, body } = await app.inject({ url: '/', headers: GZIP })
  t.same([headers['content-encoding'], headers.vary, body], [undefined, undefined, ':\nretry: 3000\ndata: x\n\n'])
})

t.test('an encoding chosen by the application or a hook is kept', async t => {
  const app = await buildApp(t)
  app.get('/identity', (_request, reply) => reply.header('content-encoding', 'identity').sse({ data: 'x' }))
  app.get('/hook', {
    onSend: async (_request, reply) => {
      reply.removeHeader('content-encoding')
    }
  }, (_request, reply) => reply.sse({ data: 'x' }))
  for (const [url, encoding] of [['/identity', 'identity'], ['/hook', undefined]] as const) {
    const { headers, body } = await app.inject({ url, headers: GZIP })
    t.equal(headers['content-encoding'], encoding)
    t.equal(body, ':\nretry: 3000\ndata: x\n\n')
  }
})

t.test('responses in place of a stream are not compressed', async t => {
  const app = await buildApp(t)
  app.get('/error', (_request, reply) => reply.sse(() => Promise.reject(new Error('no'))))
  app.get('/none', (_request, reply) => reply.sse({ open: () => undefined }))
  const [error, none] = [
    await app.inject({ url: '/error', headers: GZIP }), await app.inject({ url: '/none', headers: GZIP })
  ]
  t.same([
    error.statusCode, error.headers['content-encoding'], error.json<{ message: string }>().message
  ], [500, undefined, 'no'])
  t.same([none.statusCode, none.headers['content-encoding']], [204, undefined])
})

// It would buffer the stream: FST_SSE_WRAPPED would be the answer.
for (const isFirst of [true, false]) {
  t.test(`@fastify/compress registered ${isFirst ? 'before' : 'after'} leaves streams alone, and compresses everything else`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    const plugins = [() => app.register(compress, { global: true, threshold: 0 }), () => app.register(sse)]
    for (const register of isFirst ? plugins : plugins.reverse()) await register()
    app.get('/', (_request, reply) => reply.sse([{ data: 'x'.repeat(5_000) }, { data: 'y' }]))
    app.get('/json', async () => ({ text: 'x'.repeat(5_000) }))
    const origin = await listen(app)
    const events = `:\nretry: 3000\ndata: ${'x'.repeat(5_000)}\n\ndata: y\n\n`
    t.equal(await (await openGzip(t, origin)).verified(), events)
    for (const accepted of ['br', 'deflate', 'identity']) {
      const { headers, text } = await fetchAll(t, origin, { headers: { ...GZIP, 'accept-encoding': accepted } })
      t.same([headers['content-encoding'], headers.vary, text], [undefined, 'accept-encoding', events], accepted)
    }
    t.match(await (await openGzip(t, `${origin}/json`)).verified(), /^{"text":"x+"}$/)
  })
}

t.test('curl --compressed prints each event as it arrives', async t => {
  const { origin, opened } = await serveByHand(t)
  const curl = spawn('curl', ['-sN', '--compressed', origin])
  t.teardown(() => curl.kill())
  const inbox = new Inbox()
  curl.stdout.on('data', (chunk: Buffer) => inbox.add(chunk))
  const stream = await opened()
  for (const size of [1, 5_000, 10]) {
    stream.push({ data: `<${'x'.repeat(size)}>` })
    await inbox.until(`<${'x'.repeat(size)}>\n\n`)
  }
  stream.end()
  t.same(await once(curl, 'exit'), [0, null])
})
