import t from 'tap'
import type { Test } from 'tap'
import { buildService, readConfig } from '../../service/index.ts'
import { listen } from '../support/app.ts'
import { dial, open } from '../support/client.ts'
import type { Bare } from '../support/client.ts'
import { call } from '../support/service-app.ts'

// Slow loris: clients that hold connections by sending their requests byte by byte, and never to the end. The service's bounds
// are a minute for a head and two for all of a request. They count when Node looks at its connections, so they are lowered
// here when all is seen that has to be seen before them.

const SLOW_CLIENTS = 300
const LOWERED_MS = 2_000

/** What each sends at once; then bytes follow that never end it. */
const BEGINNINGS = [
  '',
  'GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\nX-Slow: ',
  'POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n',
  'POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n{"data":"'
]

interface Stage { server: { headersTimeout: number, requestTimeout: number }, origin: string }

async function startService (t: Test): Promise<Stage> {
  const app = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', MAX_CONNECTIONS: '0' }))
  t.teardown(() => app.close())
  // Read when it listens.
  Object.assign(app.server, { connectionsCheckingInterval: 20 })
  return { server: app.server, origin: await listen(app) }
}

/** Connects all of them; each byte they send goes out at a moment of its own. */
async function startSlowClients (t: Test, origin: string): Promise<Bare[]> {
  const clients = await Promise.all(Array.from({ length: SLOW_CLIENTS }, () => dial(origin)))
  clients.forEach(({ send }, at) => send(BEGINNINGS[at % BEGINNINGS.length]!))
  const dribble = setInterval(() => {
    // The first kind says nothing at all.
    clients.forEach(({ socket, send }, at) => { if (at % BEGINNINGS.length > 0 && socket.writable) send('x') })
  }, 10)
  t.teardown(() => {
    clearInterval(dribble)
    for (const { socket } of clients) socket.destroy()
  })
  return clients
}

t.test(`while ${SLOW_CLIENTS} clients send their requests byte by byte a good one publishes and listens, and at the bounds each slow one is closed`, async t => {
  const { server, origin } = await startService(t)
  const slow = await startSlowClients(t, origin)
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  let published = 0
  const publishAndHear = async (): Promise<void> => {
    const data = `event ${published++}`
    t.equal((await call(`${origin}/topics/news/events`, { method: 'POST', body: data, type: 'text/plain' })).status, 201)
    await inbox.until(`data: ${data}\n\n`)
  }
  for (let round = 0; round < 20; round++) await publishAndHear()
  t.equal(slow.filter(({ inbox }) => inbox.isOver).length, 0, 'they were there all the while')
  Object.assign(server, { headersTimeout: LOWERED_MS, requestTimeout: LOWERED_MS })
  while (slow.some(({ inbox }) => !inbox.isOver)) await publishAndHear()
  for (const [at] of BEGINNINGS.entries()) {
    const answers = slow.filter((_, index) => index % BEGINNINGS.length === at).map(({ inbox }) => /^HTTP\/1\.1 408 [^]*"code":"SERVICE_TIMEOUT"/.test(inbox.text))
    t.same([...new Set(answers)], [true], `answered with 408: ${JSON.stringify(BEGINNINGS[at]!.slice(0, 20))}`)
  }
  t.same([...inbox.text.matchAll(/^data: (event \d+)$/gm)].map(match => match[1]), Array.from({ length: published }, (_, at) => `event ${at}`), 'each once, in order')
  t.notOk(inbox.isOver, 'a stream is an answer, and stays')
})
