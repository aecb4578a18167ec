import { once } from 'node:events'
import net from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, connectHttp2, get } from '../../support/clients/client.ts'
import type { Bare } from '../../support/clients/client.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'

// Regression: app.close() of an application took as long as there was a connection on which nobody waited for a
// response: 70 s for a connection that was only opened or was idle after a slow response, and indefinitely for an
// incomplete request, because a server that is closing no longer checks its time-outs.

/** Longer than any test: a call that returns has not waited for the end of the drain. */
const FOREVER_MS = 2_147_483_647
const DRAIN_MS = 200

const https = makeCertificate()
const SERVERS = {
  'HTTP/1.1': {},
  'HTTP/1.1 over TLS': { https },
  'HTTP/2 over TLS': { http2: true, https: { ...https, allowHTTP1: true } },
  'HTTP/2 without TLS': { http2: true }
} as Record<string, FastifyServerOptions>

type Kind = keyof typeof SERVERS

interface Served { app: FastifyInstance, origin: string }

async function serve (
  t: Test,
  kind: Kind,
  drainMs: number,
  preClose: (origin: string) => unknown = () => {}
): Promise<Served> {
  const app = await buildApp(t, { drainMs }, SERVERS[kind])
  app.get('/', async () => 'hello')
  app.post('/', async () => 'hello')
  app.get('/slow', async () => {
    const answer = once(app.server, 'answer')
    app.server.emit('asked')
    await answer
    return 'slow'
  })
  app.addHook('preClose', async () => {
    app.server.emit('drained')
    await preClose(origin)
  })
  const origin = await listen(app)
  return { app, origin }
}

/** A TCP connection that sends these bytes and reads the response. */
async function connectTcp (t: Test, origin: string, bytes: string | Uint8Array = ''): Promise<net.Socket> {
  const { hostname, port } = new URL(origin)
  const socket = net.connect(Number(port), hostname)
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {}).resume()
  await once(socket, 'connect')
  if (bytes.length > 0) socket.write(bytes)
  return socket
}

/** Waits until the server has finished a handshake, which happens after its client has. */
const secured = async <T>({ app }: Served, opening: Promise<T>): Promise<T> => {
  const [opened] = await Promise.all([opening, once(app.server, 'secureConnection')])
  return opened
}

const sendBare = async (bare: Promise<Bare>, text: string | Uint8Array): Promise<Bare> => {
  const opened = await bare
  if (text.length > 0) opened.send(text)
  return opened
}

async function answered (t: Test, origin: string): Promise<void> {
  const { inbox } = await sendBare(connect(t, origin), get('/'))
  await inbox.until('hello')
}

const HALF_HEAD = 'GET / HTTP/1.1\r\nHost: loc'
const HALF_BODY = 'POST / HTTP/1.1\r\nHost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf'
/** The start of a ClientHello: a TLS record that announces 512 bytes. */
const HALF_HELLO = new Uint8Array([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
const HALF_PREFACE = 'PRI * HTTP/2.0\r\n'
/** The complete preface, empty SETTINGS, and a HEADERS frame of 100 bytes without its payload. */
const HALF_HEADERS = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), Buffer.from([
    0, 0, 100, 1, 4, 0, 0, 0, 1
  ])
])

type Step = (t: Test, served: Served) => Promise<unknown>

const half: Step = async (t, { app, origin }) => {
  const session = await openSession(t, origin, { rejectUnauthorized: false })
  const stream = session.request({ ':method': 'POST', ':path': '/', 'content-type': 'text/plain' })
  stream.on('error', () => {})
  const asked = once(app.server, 'request')
  stream.write('half')
  await asked
}

const idleSession: Step = async (t, { origin }) => {
  const session = await openSession(t, origin, { rejectUnauthorized: false })
  const { inbox } = await openHttp2(session, '/')
  await inbox.ended()
}

/** Idle connections: nothing is expected on them. */
const IDLE: Array<[kind: Kind, what: string, step: Step]> = [
  ['HTTP/1.1', 'that was only opened', (t, { origin }) => connectTcp(t, origin)],
  ['HTTP/1.1', 'that is idle after a response', (t, { origin }) => answered(t, origin)],
  ['HTTP/1.1 over TLS', 'that was only opened', (t, { origin }) => connectTcp(t, origin)],
  ['HTTP/1.1 over TLS', 'with a handshake and no request', (t, served) => secured(served, connect(t, served.origin))],
  ['HTTP/1.1 over TLS', 'that is idle after a response', (t, { origin }) => answered(t, origin)],
  ['HTTP/2 over TLS', 'that was only opened', (t, { origin }) => connectTcp(t, origin)],
  [
    'HTTP/2 over TLS',
    'with a handshake for HTTP/1.1 and no request',
    (t, served) => secured(served, connect(t, served.origin))
  ],
  [
    'HTTP/2 over TLS',
    'with a handshake for HTTP/2 and no preface',
    (t, served) => secured(served, connectHttp2(t, served.origin))
  ],
  [
    'HTTP/2 over TLS',
    'with a session and no request',
    (t, served) => secured(served, openSession(t, served.origin, { rejectUnauthorized: false }))
  ],
  ['HTTP/2 over TLS', 'with a session that is idle after a response', idleSession],
  ['HTTP/2 without TLS', 'that was only opened', (t, { origin }) => connectTcp(t, origin)],
  ['HTTP/2 without TLS', 'with a session that is idle after a response', idleSession]
]

/** Connections with an incomplete request: the rest may arrive until the end of the drain. */
const INCOMPLETE: Array<[kind: Kind, what: string, step: Step]> = [
  ['HTTP/1.1', 'half a head', (t, { origin }) => sendBare(connect(t, origin), HALF_HEAD)],
  ['HTTP/1.1', 'half a body', (t, { origin }) => sendBare(connect(t, origin), HALF_BODY)],
  ['HTTP/1.1', 'a response and half of the next request', async (t, { origin }) => {
    const { inbox, send } = await sendBare(connect(t, origin), get('/'))
    await inbox.until('hello')
    send(HALF_HEAD)
  }],
  ['HTTP/1.1 over TLS', 'half a ClientHello', (t, { origin }) => connectTcp(t, origin, HALF_HELLO)],
  ['HTTP/1.1 over TLS', 'half a head', (t, { origin }) => sendBare(connect(t, origin), HALF_HEAD)],
  ['HTTP/1.1 over TLS', 'half a body', (t, { origin }) => sendBare(connect(t, origin), HALF_BODY)],
  ['HTTP/2 over TLS', 'half a body of HTTP/1.1', (t, { origin }) => sendBare(connect(t, origin), HALF_BODY)],
  ['HTTP/2 over TLS', 'half a preface', (t, { origin }) => sendBare(connectHttp2(t, origin), HALF_PREFACE)],
  ['HTTP/2 over TLS', 'half a head', (t, { origin }) => sendBare(connectHttp2(t, origin), HALF_HEADERS)],
  ['HTTP/2 over TLS', 'half a body', half],
  ['HTTP/2 without TLS', 'half a preface', (t, { origin }) => connectTcp(t, origin, HALF_PREFACE)],
  ['HTTP/2 without TLS', 'half a head', (t, { origin }) => connectTcp(t, origin, HALF_HEADERS)],
  ['HTTP/2 without TLS', 'half a body', half]
]

for (const [kind, what, step] of IDLE) {
  t.test(`${kind}: app.close() does not wait for a connection ${what}`, async t => {
    const served = await serve(t, kind, FOREVER_MS)
    const accepted = once(served.app.server, 'connection')
    await step(t, served)
    await accepted
    await served.app.close()
  })
}

for (const [kind, what, step] of INCOMPLETE) {
  t.test(`${kind}: app.close() waits for ${what} no longer than the drain`, async t => {
    const served = await serve(t, kind, DRAIN_MS)
    const accepted = once(served.app.server, 'connection')
    await step(t, served)
    const [socket] = await accepted as [net.Socket]
    // Waits until part of the request has been read, not only sent.
    if (kind === 'HTTP/1.1') await until(() => socket.bytesRead > 0)
    await served.app.close()
  })
}

for (const kind of ['HTTP/1.1', 'HTTP/1.1 over TLS', 'HTTP/2 over TLS'] as const) {
  t.test(`${kind}: a response in progress is sent, and then its keep-alive connection is closed`, async t => {
    const { app, origin } = await serve(t, kind, FOREVER_MS)
    const asked = once(app.server, 'asked')
    const { inbox } = await sendBare(connect(t, origin), get('/slow'))
    await asked
    const drained = once(app.server, 'drained')
    const closed = app.close()
    await drained
    app.server.emit('answer')
    await closed
    t.match(await inbox.ended(), /200 OK[^]*slow$/)
  })

  t.test(`${kind}: app.close() waits for a complete request, however long the response takes`, async t => {
    const { app, origin } = await serve(t, kind, 0)
    const asked = once(app.server, 'asked')
    const { inbox } = await sendBare(connect(t, origin), get('/slow'))
    await asked
    const incomplete = await sendBare(connect(t, origin), HALF_HEAD)
    const drained = once(app.server, 'drained')
    const closed = app.close()
    await drained
    await incomplete.inbox.ended()
    app.server.emit('answer')
    await closed
    t.match(await inbox.ended(), /200 OK[^]*slow$/)
  })
}

t.test('HTTP/2: app.close() waits for a complete request, however long the response takes, and then closes its session', async t => {
  const { app, origin } = await serve(t, 'HTTP/2 over TLS', 0)
  const session = await openSession(t, origin, { rejectUnauthorized: false })
  const asked = once(app.server, 'asked')
  const slow = openHttp2(session, '/slow')
  await asked
  const incomplete = await sendBare(connectHttp2(t, origin), HALF_HEADERS)
  const drained = once(app.server, 'drained')
  const closed = app.close()
  await drained
  await incomplete.inbox.ended()
  app.server.emit('answer')
  t.equal(await (await slow).inbox.ended(), 'slow')
  await closed
})

t.test('a connection that is opened while other hooks of the application close is closed too', async t => {
  const late: net.Socket[] = []
  const { app } = await serve(t, 'HTTP/1.1', DRAIN_MS, async origin => { late.push(await connectTcp(t, origin)) })
  await app.close()
  t.equal(late.length, 1)
})

for (const moment of ['before', 'after'] as const) {
  t.test(`a socket that was upgraded by a listener added ${moment} the plugin is left to its owner`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    const upgraded = new Promise<net.Socket>(resolve => {
      const listen = (): unknown => app.server.on('upgrade', (request, socket: net.Socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
        resolve(socket)
      })
      if (moment === 'before') listen()
      else app.addHook('onReady', async () => { listen() })
    })
    await app.register(sse, { drainMs: 0 })
    const origin = await listen(app)
    const { inbox } = await sendBare(
      connect(t, origin),
      get('/', { headers: 'connection: upgrade\r\nupgrade: echo\r\n' })
    )
    await inbox.until('101')
    const socket = await upgraded
    const other = await sendBare(connect(t, origin), HALF_HEAD)
    const closed = app.close()
    await other.inbox.ended()
    socket.end('bye')
    await closed
    t.match(await inbox.ended(), /bye$/)
  })
}
