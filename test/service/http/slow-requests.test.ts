import { once } from 'node:events'
import { constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import t from 'tap'
import type { Test } from 'tap'
import { buildService, readConfig } from '../../../service/index.ts'
import { TIMEOUTS } from '../../../service/http/connections/timeouts.ts'
import { listen } from '../../support/apps/app.ts'
import { connect, connectHttp2, dial, open } from '../../support/clients/client.ts'
import type { Bare } from '../../support/clients/client.ts'
import { certificateFiles, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { TestService } from '../../support/service/service-app.ts'
import { until } from '../../support/until.ts'

// Slow loris: clients that hold connections by sending their requests byte by byte, and never to the end. The service
// allows a minute for a head and two for a complete request. These limits are enforced when Node checks its
// connections, so the test lowers them once everything before that has been observed, and while only slow clients send
// anything. With TLS and HTTP/2 the limits used to be missing: Fastify sets none for such a server, and a body that
// arrived byte by byte was awaited indefinitely.

const SLOW_CLIENTS = { http: 300, https: 60 } as const
const LOWERED_MS = 1

/** What each client sends at first; the bytes that follow never complete it. */
const BEGINNINGS = [
  '',
  'GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\nX-Slow: ',
  'POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n',
  'POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: ' +
    '100000\r\n\r\n{"data":"'
]

interface Stage { server: { headersTimeout: number, requestTimeout: number }, origin: string }

function tlsFiles (t: Test): Record<string, string> {
  const { cert, key } = certificateFiles(t)
  return { TLS_CERT: cert, TLS_KEY: key }
}

async function startService (t: Test, scheme: 'http' | 'https'): Promise<Stage> {
  const env = {
    LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', MAX_STREAMS: '0', ...scheme === 'https' ? tlsFiles(t) : {}
  }
  const app = await buildService(readConfig(env), { ...TIMEOUTS, checkMs: 20 })
  t.teardown(() => app.close())
  return { server: app.server, origin: await listen(app) }
}

/** Connects all clients; each of their bytes is sent at a separate moment. */
async function startSlowClients (t: Test, origin: string, count: number): Promise<Bare[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => dial(origin)))
  clients.forEach(({ send }, at) => send(BEGINNINGS[at % BEGINNINGS.length]!))
  const dribble = setInterval(() => {
    // The first kind sends nothing at all.
    clients.forEach(({ socket, send }, at) => { if (at % BEGINNINGS.length > 0 && socket.writable) send('x') })
  }, 10)
  t.teardown(() => {
    clearInterval(dribble)
    for (const { socket } of clients) socket.destroy()
  })
  return clients
}

/** Resolves to the status of one publish, over a separate connection and with any certificate. */
async function publish (t: Test, origin: string, data: string): Promise<number> {
  const { inbox, send } = await connect(t, origin)
  send(
    `POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${data.length}\r\n\r\n${data}`
  )
  return Number(/^HTTP\/1\.1 (\d+)/.exec(await inbox.ended())?.[1])
}

for (const scheme of ['http', 'https'] as const) {
  t.test(
    `over ${scheme}, while ${SLOW_CLIENTS[scheme]} clients send their requests byte by byte a normal one publishes and subscribes, and each slow one is closed at the time limits`,
    t => goSlowly(t, scheme)
  )
}

async function goSlowly (t: Test, scheme: 'http' | 'https'): Promise<void> {
  const { server, origin } = await startService(t, scheme)
  const slow = await startSlowClients(t, origin, SLOW_CLIENTS[scheme])
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  let published = 0
  const publishAndHear = async (): Promise<void> => {
    const data = `event ${published++}`
    t.equal(await publish(t, origin, data), 201)
    await inbox.until(`data: ${data}\n\n`)
  }
  for (let round = 0; round < 20; round++) await publishAndHear()
  t.equal(slow.filter(({ inbox }) => inbox.isOver).length, 0, 'they were connected all the time')
  const { headersTimeout, requestTimeout } = server
  Object.assign(server, { headersTimeout: LOWERED_MS, requestTimeout: LOWERED_MS })
  await Promise.all(slow.map(({ inbox }) => inbox.ended()))
  Object.assign(server, { headersTimeout, requestTimeout })
  await publishAndHear()
  for (const [at] of BEGINNINGS.entries()) {
    const answers = slow.filter((_, index) => index % BEGINNINGS.length === at)
      .map(({ inbox }) => /^HTTP\/1\.1 408 [^]*"code":"SERVICE_TIMEOUT"/.test(inbox.text))
    t.same([...new Set(answers)], [true], `responded with 408: ${JSON.stringify(BEGINNINGS[at]!.slice(0, 20))}`)
  }
  t.same(
    [...inbox.text.matchAll(/^data: (event \d+)$/gm)].map(match => match[1]),
    Array.from({ length: published }, (_, at) => `event ${at}`),
    'each once, in order'
  )
  t.notOk(inbox.isOver, 'a stream is a response, and stays open')
}

interface Slow { name: string, type: string, beginning: string }
const SLOW_BODIES: Slow[] = [
  { name: 'half a body', type: 'text/plain', beginning: 'half' },
  { name: 'a body of JSON', type: 'application/json', beginning: '{"data":"' },
  { name: 'a line of NDJSON', type: 'application/x-ndjson', beginning: '{"data":"' },
  { name: 'many lines of NDJSON', type: 'application/x-ndjson', beginning: '{"data":1}\n' },
  { name: 'nothing', type: 'text/plain', beginning: '' }
]

interface SlowStream { stream: ClientHttp2Stream, inbox: Inbox, answer: Promise<number> }

/** Sends a request whose body does not end; further bytes follow for as long as the stream is open. */
function startSlowBody (session: ClientHttp2Session, { type, beginning }: Slow, everyMs = 20): SlowStream {
  const stream = session.request({ ':method': 'POST', ':path': '/topics/news/events', 'content-type': type })
  const inbox = new Inbox()
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => inbox.add(chunk))
  stream.on('close', () => inbox.end())
  if (beginning !== '') stream.write(beginning)
  const drip = setInterval(() => { if (stream.writable && beginning !== '') stream.write(' ') }, everyMs)
  stream.once('close', () => clearInterval(drip))
  return {
    stream, inbox, answer: once(stream, 'response').then(([headers]) => (headers as { ':status': number })[':status'])
  }
}

t.test('over HTTP/2 an incomplete body gets 408 and its stream is closed, while others continue', async t => {
  const service = await TestService.start(t, tlsFiles(t), { requestMs: 500 })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  let open = 0
  service.app.server.on('stream', stream => {
    open++
    stream.once('close', () => { open-- })
  })
  const listener = await openHttp2(session, '/events?topic=news')
  await listener.inbox.until('stream.open')
  for (const slow of SLOW_BODIES) {
    const { stream, inbox, answer } = startSlowBody(session, slow)
    t.equal(await answer, 408, slow.name)
    t.match(await inbox.until('}'), /"code":"SERVICE_TIMEOUT"/, slow.name)
    // Observed on the server: Node's client closes a stream only when its own writes are done.
    await until(() => open === 1)
    stream.destroy()
  }
  t.equal(await publish(t, service.origin, 'after all'), 201)
  await listener.inbox.until('data: after all\n\n')
  t.notOk(listener.stream.closed, 'a stream is a response, and stays open')
})

t.test('over HTTP/2 no stream is left on the server when bytes keep arriving while a body is abandoned', async t => {
  // Regression: a byte that arrived between the last read and the end of the stream stayed in a paused stream, which
  // was never closed.
  const service = await TestService.start(t, tlsFiles(t), { requestMs: 300 })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  let opened = 0
  let closed = 0
  service.app.server.on('stream', stream => {
    opened++
    stream.once('close', () => { closed++ })
  })
  const slow = Array.from({ length: 60 }, (_, at) => startSlowBody(session, SLOW_BODIES[at % 4]!, 1))
  for (const { answer } of slow) t.equal(await answer, 408)
  await until(() => closed === slow.length)
  // The same when the client gives up, with any reason code; more data than the window of a stream is in flight.
  const given = Array.from(
    { length: 20 },
    (_, at) => startSlowBody(session, { ...SLOW_BODIES[at % 4]!, beginning: `{"data":"${' '.repeat(100_000)}` }, 1)
  )
  for (const { answer } of given) answer.catch(() => {})
  await until(() => opened === slow.length + given.length)
  given.forEach(({ stream }, at) => stream.close(at % 2 === 0 ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL))
  await until(() => closed === opened)
  t.equal(await publish(t, service.origin, 'after all'), 201)
})

t.test('an HTTP/2 session without streams is closed even if it responds to pings; one with a stream is not', async t => {
  const service = await TestService.start(t, tlsFiles(t), { idleMs: 2_000, checkMs: 20 })
  const session = (): Promise<ClientHttp2Session> => openSession(t, service.origin, { rejectUnauthorized: false })
  const listening = await session()
  const { inbox } = await openHttp2(listening, '/events?topic=news')
  const used = await session()
  await (await openHttp2(used, '/healthz')).inbox.ended()
  const never = await session()
  const pings = setInterval(() => {
    for (const session of [never, used]) if (!session.destroyed) session.ping(() => {})
  }, 20)
  t.teardown(() => clearInterval(pings))
  await until(() => never.destroyed && used.destroyed)
  t.equal(await publish(t, service.origin, 'still here'), 201)
  await inbox.until('data: still here\n\n')
  t.notOk(listening.closed)
})

t.test('a session that does not close when asked to is destroyed', async t => {
  const service = await TestService.start(t, tlsFiles(t), { idleMs: 100, checkMs: 20 })
  const { socket, send } = await connectHttp2(t, service.origin)
  // The preface and empty settings, and then nothing: neither an answer to the server's settings nor to its GOAWAY.
  send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0')
  await until(() => socket.destroyed)
})

t.test('a connection that was used once and is idle is closed, also with TLS', async t => {
  for (const env of [{}, tlsFiles(t)]) {
    const service = await TestService.start(t, env, { idleMs: 200, checkMs: 20 })
    const { inbox, send } = await connect(t, service.origin)
    send('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    t.match(await inbox.ended(), /^HTTP\/1\.1 200 /)
  }
})

t.test('the time for a TLS handshake to start is limited like that of the head of a request', async t => {
  const service = await TestService.start(t, tlsFiles(t), { headMs: 200 })
  const { inbox } = await connect(t, service.origin.replace('https', 'http'))
  t.equal(await inbox.ended(), '')
})
