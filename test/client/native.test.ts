import { mock } from 'node:test'
import { EventSource } from 'eventsource'
import t from 'tap'
import type { Test } from 'tap'
import { fetchTransport, subscribeNative } from '../../plugin/client/index.ts'
import type { StreamItem, SubscribeNativeOptions, Subscription } from '../../plugin/client/index.ts'
import { ending, ScriptedServer, status, streaming } from '../support/network/scripted-server.ts'

const FAST = { backoff: { initialMs: 1, maxMs: 5 } } as const

t.beforeEach(() => { Object.assign(globalThis, { EventSource }) })

function start (
  t: Test,
  server: ScriptedServer,
  options: Partial<SubscribeNativeOptions> = {}
): Subscription {
  const subscription = subscribeNative({ url: server.url, ...FAST, ...options })
  t.teardown(() => subscription.close())
  return subscription
}

async function take (subscription: Subscription, count: number): Promise<StreamItem[]> {
  const items: StreamItem[] = []
  for await (const item of subscription) if (items.push(item) === count) break
  return items
}

t.test('EventSource reconnects by itself and honours retry; listed names are received', async t => {
  const server = await ScriptedServer.start(t,
    ending(
      'retry: 1\nid: 1-1\ndata: a\n\n'
    ), streaming('id: 1-2\nevent: score\ndata: b\n\nevent: other\ndata: never\n\nid: 1-3\ndata: c\n\n'))
  const states: string[] = []
  const subscription = start(t, server, { eventNames: ['score'], topics: ['news'] })
  subscription.addEventListener('state', ({ detail }) => states.push(detail.state))
  t.match(await take(subscription, 3), [
    { event: 'message', data: 'a', id: '1-1', topic: 'news' }, { event: 'score', data: 'b', id: '1-2' }, { data: 'c' }
  ])
  t.equal(server.requests[1]!.headers['last-event-id'], '1-1')
  t.same(states, ['open', 'connecting', 'open', 'closed'])
})

t.test('a cursor and a token for one connection are sent in the query', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const [first] = await take(start(t, server, { lastEventId: '7-7', getToken: () => 'secret', topics: ['a'] }), 1)
  // An event without an id leaves the cursor unchanged.
  t.match(first, { data: 'a', lastEventId: '7-7' })
  t.equal(server.requests[0]!.url, '/events?topic=a&ot=secret&lastEventId=7-7')
})

t.test('when EventSource gives up, a HEAD request finds out why', async t => {
  const server = await ScriptedServer.start(t, status(
    503
  ), status(503), status(401), status(401), status(204), status(204))
  let count = 0
  const subscription = start(t, server, { getToken: () => `t${++count}` })
  const errors: unknown[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail))
  t.same(await take(subscription, 9), [{ kind: 'end', reason: 'closed' }])
  t.match(errors, [{ status: 503, willRetry: true }, { status: 401, willRetry: true }])
  t.same(server.requests.map(({ method }) => method), ['GET', 'HEAD', 'GET', 'HEAD', 'GET', 'HEAD'])
})

t.test('a final response ends it; one that HEAD does not show is retried', async t => {
  const server = await ScriptedServer.start(t, status(404), status(200), status(403))
  const subscription = start(t, server, { withCredentials: true })
  await t.rejects(take(subscription, 1), {
    name: 'SubscriptionError', status: 403, message: '403, as seen by a HEAD request to the same URL'
  })
  t.equal(subscription.state, 'closed')
})

t.test('a HEAD request that fails is retried too', async t => {
  const server = await ScriptedServer.start(t, status(404), response => response.destroy(), streaming('data: a\n\n'))
  t.match(await take(start(t, server), 1), [{ data: 'a' }])
})

t.test('topics can be added in place', async t => {
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'), streaming('id: 1-2\ndata: b\n\n'))
  const subscription = start(t, server, { topics: ['a'] })
  const loop = subscription[Symbol.asyncIterator]()
  t.match(await loop.next(), { value: { data: 'a' } })
  subscription.add('b')
  t.match(await loop.next(), { value: { data: 'b' } })
  t.equal(server.requests[1]!.url, '/events?topic=a&topic=b&envelope=true&lastEventId=ypeBEs1-1')
})

// Regression: they were ignored. The time of `stallTimeoutMs` ended a stream even while events arrived.
t.test('an option that EventSource cannot support is rejected', async t => {
  const options = { transport: fetchTransport(), headers: {}, shareAcrossTabs: true, stallTimeoutMs: 1 }
  for (const [name, value] of Object.entries(options)) {
    t.throws(() => subscribeNative({ url: 'http://127.0.0.1:1/', [name]: value }), {
      name: 'TypeError', message: `subscribeNative: EventSource does not support option ${name}`
    })
    const subscription = subscribeNative({ url: 'http://127.0.0.1:1/', [name]: undefined })
    t.equal(subscription.state, 'connecting', 'undefined counts as not given')
    subscription.close()
  }
})

// Regression: EventSource does not show that bytes arrive, so each stream was considered stalled after a minute, and
// the client connected again.
t.test('a stream is not considered stalled, however long it lasts', async t => {
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'))
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const now = performance.now.bind(performance)
  t.teardown(() => { performance.now = now })
  const subscription = start(t, server)
  const errors: unknown[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail))
  await new Promise(resolve => subscription.addEventListener('message', resolve))
  performance.now = () => now() + 3_600_000
  mock.timers.tick(3_600_000)
  await new Promise(resolve => setImmediate(resolve))
  t.same(errors, [])
  t.equal(subscription.state, 'open')
})

t.test('an event that parse rejects is reported here too', async t => {
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: x\n\nid: 1-2\ndata: 2\n\n'))
  const subscription = start(t, server, { topics: ['a'], parse: text => JSON.parse(text) as string })
  t.match(await take(subscription, 2), [{ kind: 'error', id: '1-1', topic: 'a' }, { kind: 'event', data: 2 }])
  t.equal(server.requests.length, 1)
})

t.test('without EventSource it reports an error', async t => {
  Object.assign(globalThis, { EventSource: undefined })
  const server = await ScriptedServer.start(t, streaming(''))
  await t.rejects(take(start(t, server), 1), {
    message: 'there is no EventSource here: use subscribe() with its fetch transport'
  })
})
