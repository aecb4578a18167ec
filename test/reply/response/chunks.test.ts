import { createServer as createPlainServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import { createFrame } from '../../../plugin/reply/frame.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, get, open } from '../../support/clients/client.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'

const SHARED = createFrame([Buffer.from('id: 1\n'), Buffer.from('data: shared ✓\n\n')], 1)
const LARGE = { bytes: Buffer.from(`data: ${'x'.repeat(10_000)}\n\n`), events: 1 }
/** Its large part is not copied, as for the only reader of a feed. */
const PARTS = createFrame([
  'id: 2\n', Buffer.from(`data: ${'y'.repeat(20_000)}\n\n`), 'id: 3\n', Buffer.from('data: z\n\n')
], 2, 1_000)
const EMPTY = createFrame([], 0)

/** All kinds of frames: alone in a tick, several in one tick, before the first byte, and before the end. */
async function writeAll (reply: FastifyReply): Promise<void> {
  const stream = reply.sse(undefined, { retryMs: false })
  stream.push({ data: 'held' })
  stream.write(SHARED)
  while (!reply.raw.headersSent) await turn()
  for (const frames of [
    [SHARED], [LARGE], [EMPTY], [SHARED, LARGE, SHARED], [LARGE, SHARED], [SHARED], [PARTS], [SHARED, PARTS]
  ]) {
    for (const frame of frames) stream.write(frame)
    await turn()
    await turn()
  }
  stream.comment('last')
  stream.write(SHARED)
  stream.end({ data: 'end' })
}

/** The text that `writeAll` sends. */
const WHOLE = [
  ':\n', 'data: held\n\n', SHARED, SHARED, LARGE, SHARED, LARGE, SHARED, LARGE, SHARED, SHARED, PARTS, SHARED, PARTS,
  ': last\n', SHARED, 'data: end\n\n'
].map(part => typeof part === 'string' ? part : part.bytes.toString()).join('')

function addRoutes (app: FastifyInstance): void {
  app.get('/', async (request: FastifyRequest, reply) => {
    // A `write` method of other code: all data passes through it, as it did before chunks were framed here.
    const { raw } = reply
    if ('plain' in (request.query as object)) raw.write = Object.getPrototypeOf(raw).write.bind(raw)
    await writeAll(reply)
    return reply
  })
  app.get('/trailer', async (_request, reply) => {
    reply.trailer('etag', async () => 'checked')
    await writeAll(reply)
    return reply
  })
  app.get('/next', async () => 'next')
}

async function serve (t: Test, server: FastifyServerOptions = {}): Promise<string> {
  const app = await buildApp(t, {}, server)
  addRoutes(app)
  return listen(app)
}

const withoutDate = (text: string): string => text.replaceAll(/\r\nDate: [^\r]+/g, '')

/** Everything that a server sends on one connection in response to these requests, the last of which closes it. */
async function rawAnswer (t: Test, origin: string, requests: string): Promise<string> {
  const { inbox, send } = await connect(t, origin)
  send(requests)
  return withoutDate(await inbox.ended())
}

/**
 * From Node 26 on a response joins everything written to it in one tick into one chunk, so chunk boundaries may differ.
 */
const comparable = (raw: string): string => Number(process.versions.node.split('.')[0]) < 26 ? raw : withoutChunks(raw)

/** Replaces each chunked body by its content; everything else is unchanged. */
function withoutChunks (raw: string): string {
  let [rest, text]: [Buffer, string] = [Buffer.from(raw), '']
  for (let end = rest.indexOf('\r\n\r\n'); end !== -1; end = rest.indexOf('\r\n\r\n')) {
    const head = rest.subarray(0, end + 4).toString()
    const body = rest.subarray(end + 4)
    const [content, after] = /^transfer-encoding: chunked/im.test(head) ? takeChunks(body) : ['', body]
    text += head + content
    rest = after
  }
  return text + rest.toString()
}

/** The content of the chunks at the start of `body`, and the rest. */
function takeChunks (body: Buffer): [content: string, after: Buffer] {
  let [content, rest] = ['', body]
  // A response to HEAD has no body: the next response follows.
  while (!rest.toString('latin1', 0, 5).startsWith('HTTP/')) {
    const line = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.toString('latin1', 0, line), 16)
    content += rest.toString('utf8', line + 2, line + 2 + size)
    rest = rest.subarray(line + 2 + size + 2)
    if (size === 0) break
  }
  return [content, rest]
}

const CLOSE = { headers: 'Connection: close\r\n' }

for (const name of ['plain', 'TLS']) {
  t.test(`over ${name}, a connection carries exactly the bytes that response.write() would send`, async t => {
    const origin = await serve(t, name === 'TLS' ? { https: makeCertificate() } as FastifyServerOptions : {})
    for (const [what, requests] of [
      ['one stream', (query: string) => get(`/${query}`, CLOSE)],
      ['keep-alive', (query: string) => get(`/${query}`) + get('/next', CLOSE)],
      [
        'pipelined streams',
        (query: string) => get(`/${query}`) + get(`/${query}`) + get('/next') + get(`/${query}`, CLOSE)
      ],
      ['HEAD before a stream', (query: string) => get(`/${query}`, { method: 'HEAD' }) + get(`/${query}`, CLOSE)],
      ['HTTP/1.0', (query: string) => get(`/${query}`, { version: '1.0' })]
    ] as const) {
      const ours = await rawAnswer(t, origin, requests(''))
      t.equal(comparable(ours), comparable(await rawAnswer(t, origin, requests('?plain'))), what)
      t.ok(ours.includes(SHARED.bytes.toString()), `${what} has events`)
    }
    t.ok(
      (await rawAnswer(t, origin, get('/', { version: '1.0' }))).endsWith(`\r\n\r\n${WHOLE}`),
      'HTTP/1.0 has no chunks'
    )
    t.equal(await (await open(t, `${origin}/`)).inbox.ended(), WHOLE)
  })
}

t.test('trailers follow the last chunk', async t => {
  const { response, inbox } = await open(t, `${await serve(t)}/trailer`)
  t.equal(await inbox.ended(), WHOLE)
  t.match(response.trailers, { etag: 'checked' })
})

t.test('over HTTP/2 and with inject() the content is the same', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(sse)
  addRoutes(app)
  const { inbox } = await openHttp2(await openSession(t, await listen(app)), '/')
  t.equal(await inbox.ended(), WHOLE)
  const plain = await buildApp(t)
  addRoutes(plain)
  t.equal((await plain.inject('/')).body, WHOLE)
})

/** Records what is written to each socket. */
function recordSockets (app: FastifyInstance): unknown[][] {
  const records: unknown[][] = []
  app.server.on('connection', (socket: Socket) => {
    const record: unknown[] = []
    records.push(record)
    const { write } = socket
    socket.write = ((...args: Parameters<typeof write>) => {
      record.push(args[0])
      return write.apply(socket, args)
    }) as typeof write
  })
  return records
}

t.test('one chunk is shared by all clients: it is written to each socket without a copy', async t => {
  const app = await buildApp(t)
  addRoutes(app)
  const records = recordSockets(app)
  const origin = await listen(app)
  await Promise.all([1, 2].map(async () => (await open(t, `${origin}/`)).inbox.ended()))
  t.equal(records.length, 2)
  for (const record of records) t.equal(record.filter(bytes => bytes === SHARED.chunk![0]).length, 7)
  for (const record of records) t.equal(record.filter(bytes => bytes === PARTS.chunk![1]).length, 2)
})

t.test('a server whose responses have their own `write` gets every byte through it', async t => {
  const seen: string[] = []
  const app = await buildApp(t, {}, {
    serverFactory: handler => createPlainServer((request: IncomingMessage, response: ServerResponse) => {
      const { write } = response
      response.write = ((chunk: Buffer, ...rest: [() => void]) => {
        seen.push(chunk.toString())
        return write.call(response, chunk, ...rest as unknown as [BufferEncoding])
      }) as typeof write
      handler(request, response)
    })
  })
  addRoutes(app)
  await (await open(t, `${await listen(app)}/`)).inbox.ended()
  t.equal(seen.join(''), WHOLE)
})

t.test('a response that the application ended itself is not written to again', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => {
    const stream = reply.sse()
    void (async () => {
      while (!reply.raw.headersSent) await turn()
      reply.raw.end()
      stream.write(SHARED)
    })()
    return reply
  })
  app.get('/next', async () => 'next')
  const text = await rawAnswer(t, await listen(app), get('/') + get('/next', CLOSE))
  t.notOk(text.includes('shared'))
  t.ok(text.endsWith('\r\n\r\nnext'))
})
