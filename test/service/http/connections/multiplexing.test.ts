import net from 'node:net'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { ConnectionCounts } from '../../../../service/http/connections/connections.ts'
import type { Http2Request } from '../../../../service/http/connections/multiplexing.ts'
import { boundPipelining } from '../../../../service/http/connections/pipelining.ts'
import { openSession, resetRequests } from '../../../support/network/http2-client.ts'
import { spin } from '../../../support/spin.ts'
import { until } from '../../../support/until.ts'

// Regression: 2,000 requests for streams on each of 10 connections, cancelled at once, kept all other clients waiting
// for seconds.

const CANCELLED = 500

/**
 * An app that counts the requests that Fastify has seen. `newest` is the id of the last stream that was answered, and
 * `order` lists the requests for a number.
 */
async function start (t: Test) {
  const seen = { count: 0, newest: 0 }
  const app = Fastify({ ...{ http2: true } as object, genReqId: () => `${++seen.count}` })
  boundPipelining(app, new ConnectionCounts(app))
  app.addHook('onResponse', async ({ raw }) => { seen.newest = (raw as Http2Request).stream.id! })
  app.get('/', async () => ({}))
  const order: number[] = []
  app.get<{ Params: { at: string } }>('/:at', async ({ params }) => {
    order.push(Number(params.at))
    // Longer than a whole turn.
    spin(6)
    return {}
  })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, seen, order, port: (app.server.address() as AddressInfo).port }
}

t.test('requests that an HTTP/2 client sends at once are not all handled in the turn in which they are read', async t => {
  const { app, seen, port } = await start(t)
  const turn: { read?: number, seen?: number } = {}
  let read = 0
  app.server.prependListener('request', () => {
    if (read++ === 0) setImmediate(() => { Object.assign(turn, { read, seen: seen.count }) })
  })
  const session = await openSession(t, `http://127.0.0.1:${port}`)
  const answers = await Promise.all(Array.from({ length: 90 }, () => text(session.request({ ':path': '/' }))))
  t.same(answers, Array.from({ length: 90 }, () => '{}'))
  t.ok(turn.read! > 10, `${turn.read} were read in the first turn`)
  t.equal(turn.seen, 1)
  t.equal(seen.count, 90)
})

t.test('a request that its client has cancelled before its turn is not handled', async t => {
  const { seen, port } = await start(t)
  const socket = net.connect(port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.write(resetRequests(CANCELLED + 1))
  await until(() => seen.newest === 2 * CANCELLED + 1)
  t.ok(seen.count <= 2, `${seen.count} were handled: the last one, and the first if it was read before it was cancelled`)
})

// Regression: the first request of a later turn was handled before those that waited, so that the publishes of a client
// were stored in a different order.
t.test('requests that an HTTP/2 client sends while others wait are handled after these', async t => {
  const { order, port } = await start(t)
  const session = await openSession(t, `http://127.0.0.1:${port}`)
  const ask = (at: number): Promise<string> => text(session.request({ ':path': `/${at}` }))
  const early = Array.from({ length: 30 }, (_, at) => ask(at))
  await early[0]
  const late = Array.from({ length: 5 }, (_, at) => ask(30 + at))
  await Promise.all([...early, ...late])
  t.same(order, Array.from({ length: 35 }, (_, at) => at))
})
