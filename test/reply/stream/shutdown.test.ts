import t from 'tap'
import { once } from 'node:events'
import type { CloseReason, SseStream } from '../../../plugin/index.ts'
import { StreamRegistry } from '../../../plugin/reply/stream/open-streams.ts'
import { StreamDrain } from '../../../plugin/reply/stream/stream-drain.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, fetchAll, get, open, stall } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'

const never = new Promise<never>(() => {})
const lastRetry = (text: string): number => Number([...text.matchAll(/retry: (\d+)\n/g)].at(-1)?.[1])

// Regression: after a rolling restart clients were disconnected for 10 to 20 s although another instance was ready:
// `retry:` was drawn from one to two drains.
t.test('app.close() with 1,000 open streams ends each with its own retry time, 1 to 3 s after its end', async t => {
  // Much longer than needed, to show that nothing waits for it.
  const drainMs = 60_000
  const reasons: CloseReason[] = []
  const app = await buildApp(t, { drainMs, retryMs: false, onClose: reason => reasons.push(reason) })
  app.get('/', (request, reply) => reply.sse(async function * () { await never }))
  const url = await listen(app)
  const clients = await Promise.all(Array.from({ length: 1_000 }, () => connect(t, url)))
  for (const { send } of clients) send(get('/'))
  await Promise.all(clients.map(({ inbox }) => inbox.until(':\n')))
  const begin = performance.now()
  const ends = clients.map(async ({ inbox }) => {
    const retryMs = lastRetry((await inbox.until('\r\n0\r\n\r\n')).replaceAll('\r\n', ''))
    return { retryMs, atMs: performance.now() - begin }
  })
  await app.close()
  const closedMs = performance.now() - begin
  const told = await Promise.all(ends)
  t.same(new Set(reasons), new Set(['shutdown']))
  t.equal(reasons.length, 1_000)
  const returns = told.map(({ retryMs, atMs }) => retryMs + atMs)
  const retries = told.map(({ retryMs }) => retryMs)
  t.ok(Math.min(...returns) >= 1_000, `the first client reconnects after ${Math.min(...returns)} ms`)
  t.ok(Math.max(...retries) <= 3_000 + 10 * 20, 'all within two seconds of it, plus the pauses between the batches')
  t.ok(Math.max(...retries) - Math.min(...retries) > 1_000, 'spread')
  t.ok(new Set(told.map(({ retryMs }) => retryMs)).size > 500)
  t.ok(closedMs < drainMs, 'no client had to be waited for')
})

/** Streams of a registry without sockets, and the retry that each received. */
async function retriesOf (
  count: number,
  { drainMs = 5_000, answersWhileClosing = false, stuck = 0 } = {}
): Promise<number[]> {
  const registry = new StreamRegistry()
  const retries: number[] = []
  for (let at = 0; at < count; at++) {
    const stream = {
      bufferedBytes: at < stuck ? 1 : 0,
      closeWithRetry (reason: CloseReason, retryMs: number) {
        retries.push(retryMs)
        registry.remove(stream as unknown as SseStream)
      },
      // On a loaded machine the last batches are sent after the drain.
      destroy () {}
    }
    registry.add(stream as unknown as SseStream)
  }
  await new StreamDrain(registry, { drainMs, answersWhileClosing }).drain()
  await until(() => retries.length === count)
  return retries
}

t.test('clients reconnect over a time that grows with their number, and no faster than 1,000 a second', async t => {
  for (const [count, most] of [[1, 3_000], [50, 3_010], [2_000, 3_400], [20_000, 24_000]] as const) {
    const retries = await retriesOf(count)
    t.equal(retries.length, count)
    t.ok(Math.min(...retries) >= 1_000, `${count}: the first after ${Math.min(...retries)} ms`)
    t.ok(Math.max(...retries) <= most, `${count}: the last after ${Math.max(...retries)} ms`)
    if (count < 2_000) continue
    for (let from = 0; from < most; from += 1_000) {
      t.ok(
        retries.filter(ms => ms >= from && ms < from + 1_000).length < 1_300,
        `${count}: a bounded number in each second`
      )
    }
  }
})

t.test('if Fastify responds with 503 until the last client is done, all clients reconnect after that', async t => {
  for (const ms of await retriesOf(10, { stuck: 1 })) t.ok(ms >= 5_900, `${ms}`)
  for (const ms of await retriesOf(10, { stuck: 1, answersWhileClosing: true })) {
    t.ok(ms >= 1_000 && ms <= 3_010, `${ms}`)
  }
})

t.test('a stalled client is cut at the end of the window, and app.close() returns', async t => {
  const reasons: CloseReason[] = []
  const app = await buildApp(t, { drainMs: 200, onClose: reason => reasons.push(reason) })
  app.get('/', (request, reply) => reply.sse(async function * () {
    yield 'x'.repeat(20_000_000)
    setImmediate(() => app.server.emit('stuck'))
    await never
  }))
  const url = await listen(app)
  const stuck = once(app.server, 'stuck')
  const { inbox, socket } = await stall(t, url, '/')
  await stuck
  await app.close()
  t.same(reasons, ['shutdown'])
  socket.resume()
  t.notMatch((await inbox.ended()).slice(-10), '0\r\n\r\n')
})

t.test('a source that never finishes opening does not delay app.close()', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse({
    open: () => { app.server.emit('preparing'); return never }
  }))
  const url = await listen(app)
  const preparing = once(app.server, 'preparing')
  const answer = fetchAll(t, url)
  await preparing
  await app.close()
  const { statusCode, text } = await answer
  t.equal(statusCode, 200)
  t.match(text, /^:\nretry: 3000\nretry: \d+\n$/)
})

t.test('with return503OnClosing: false a new stream is asked to retry later, and its source is not started', async t => {
  const app = await buildApp(t, { drainMs: 600_000 }, { return503OnClosing: false })
  app.get('/open', (request, reply) => reply.sse(async function * () {
    yield 'x'.repeat(20_000_000)
    setImmediate(() => app.server.emit('stuck'))
    await never
  }))
  app.get('/', (request, reply) => reply.sse(() => { t.fail('it must not start') }))
  const manual: unknown[] = []
  app.get('/manual', (request, reply) => {
    const stream = reply.sse()
    manual.push(stream.isOpen, stream.push({ data: 'a' }), stream.closeReason)
  })
  const url = await listen(app)
  const stuck = once(app.server, 'stuck')
  // It extends the drain, so that there is time for a client to connect.
  const stalled = await stall(t, url, '/open')
  await stuck
  const late = await Promise.all([connect(t, url), connect(t, url)])
  const closed = app.close()
  await new Promise(resolve => setImmediate(resolve))
  late[0].send(get('/'))
  late[1].send(get('/manual'))
  for (const { inbox } of late) {
    const text = (await inbox.until('\r\n0\r\n\r\n')).replaceAll('\r\n', '')
    t.match(text, 'HTTP/1.1 200')
    t.ok(lastRetry(text) > 0)
  }
  t.same(manual, [false, false, 'shutdown'])
  stalled.socket.destroy()
  await closed
})

t.test('a drain lasts no longer than its streams, and leaves no timer', async t => {
  const app = await buildApp(t, { drainMs: 1_000_000, heartbeatMs: 0 })
  app.get('/', (request, reply) => reply.sse(async function * () { await never }))
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  await new StreamDrain(new StreamRegistry(), { drainMs: 1_000_000, answersWhileClosing: false }).drain()
  const { inbox } = await open(t, await listen(app))
  await inbox.until(':\n')
  await app.close()
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})

t.test('a drain with a time of 0 still asks every client to retry, all at once', async t => {
  const app = await buildApp(t, { drainMs: 0 })
  app.get('/', (request, reply) => reply.sse(async function * () { await never }))
  const url = await listen(app)
  const clients = await Promise.all(Array.from({ length: 120 }, () => open(t, url)))
  await Promise.all(clients.map(({ inbox }) => inbox.until(':\n')))
  await app.close()
  for (const { inbox } of clients) t.match(await inbox.ended(), /retry: \d+\n$/)
})
