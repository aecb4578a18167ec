import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as immediate } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { ConnectionCounts } from '../../../../service/http/connections/connections.ts'
import { boundPipelining } from '../../../../service/http/connections/pipelining.ts'
import { connect, get } from '../../../support/clients/client.ts'
import { until } from '../../../support/until.ts'

// Regression: requests waited for their turn inside Fastify, which took twice the time and memory of parsing them. So
// did those that a connection had sent after the one for which it was closed.

const SENT = 1_000
/** More than the buffers of a connection contain. */
const LARGE = 32 * 1024 * 1024

/** An app that counts the requests that Fastify has seen. */
async function start (t: Test, maxTogether?: number) {
  const seen = { count: 0 }
  const app = Fastify({ genReqId: () => `${++seen.count}`, return503OnClosing: false })
  boundPipelining(app, new ConnectionCounts(app), maxTogether)
  let release: () => void = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  app.get('/', async () => ({}))
  app.get('/slow', async () => released.then(() => ({})))
  app.get('/large', async () => 'x'.repeat(LARGE))
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, seen, release, origin: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` }
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

// Regression: they were handled and publishes stored, but the connection ended before their responses.
t.test('requests that arrive after the one whose response ends the connection are not handled', async t => {
  const { app, seen, origin, release } = await start(t)
  const { inbox, send } = await connect(t, origin)
  const request = async (path: string): Promise<void> => {
    const parsed = once(app.server, 'request')
    send(get(path))
    await parsed
    // Its turn is in one of the next two phases.
    await immediate()
    await immediate()
  }
  await request('/slow')
  const closed = app.close()
  await until(() => !app.server.listening)
  await request('/')
  await request('/')
  release()
  const text = await inbox.ended()
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, 2)
  t.match(text, /connection: close/i)
  t.equal(seen.count, 2)
  await closed
})

// Regression: Node took the connection for idle, and the client got a part of the response.
t.test('a response that is being sent when the app begins to close is sent completely, as are those behind it', async t => {
  const { app, origin } = await start(t)
  const { inbox, send, socket } = await connect(t, origin)
  send(get('/large') + get('/'))
  await inbox.untilBytes(1)
  socket.pause()
  const closed = app.close()
  await until(() => !app.server.listening)
  socket.resume()
  await inbox.untilBytes(LARGE)
  await inbox.until(text => text.endsWith('{}'))
  t.ok(inbox.bytes > LARGE, 'the large response is complete')
  socket.destroy()
  await closed
})
