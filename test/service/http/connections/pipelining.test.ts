import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { ConnectionCounts } from '../../../../service/http/connections/connections.ts'
import { boundPipelining } from '../../../../service/http/connections/pipelining.ts'
import { connect, get } from '../../../support/clients/client.ts'

// Regression: requests waited for their turn inside Fastify, which took twice the time and memory of parsing them. So
// did those that a connection had sent after the one for which it was closed.

const SENT = 1_000

/** An app that counts the requests that Fastify has seen. */
async function start (t: Test, maxTogether?: number) {
  const seen = { count: 0 }
  const app = Fastify({ genReqId: () => `${++seen.count}`, return503OnClosing: false })
  boundPipelining(app, new ConnectionCounts(app), maxTogether)
  app.get('/', async () => ({}))
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, seen, origin: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` }
}

t.test('Fastify does not see a request before its turn', async t => {
  const { app, seen, origin } = await start(t)
  const { inbox, send } = await connect(t, origin)
  let parsed = 0
  const turn: { parsed?: number, seen?: number } = {}
  app.server.prependListener('request', () => {
    if (parsed++ === 0) setImmediate(() => { Object.assign(turn, { parsed, seen: seen.count }) })
  })
  send(get('/').repeat(SENT) + get('/', { headers: 'Connection: close\r\n' }))
  t.equal((await inbox.ended()).match(/HTTP\/1\.1 200/g)?.length, SENT + 1)
  t.ok(turn.parsed! > 100, `${turn.parsed} were parsed in the first turn`)
  t.equal(turn.seen, 1)
})

t.test('Fastify sees nothing that follows the request for which a connection was closed', async t => {
  const { seen, origin } = await start(t, 10)
  const { inbox, send } = await connect(t, origin)
  send(get('/').repeat(SENT))
  await inbox.ended()
  t.equal(seen.count, 1)
})

// Regression: the first response after that ended the connection, and those behind it were lost although they had been
// handled.
t.test('requests that wait when the app begins to close get their responses', async t => {
  const { app, origin } = await start(t)
  const { inbox, send } = await connect(t, origin)
  app.server.once('request', () => setImmediate(() => { void app.close() }))
  send(get('/').repeat(SENT))
  const text = await inbox.ended()
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, SENT)
  t.match(text, /connection: close/i, 'the last one ends the connection')
})
