import t from 'tap'
import type { Test } from 'tap'
import { positionOf } from '../../plugin/client/cursor.ts'
import { fetchTransport, subscribe } from '../../plugin/client/index.ts'
import { messageOf } from '../../plugin/client/messages.ts'
import type { ErrorDetail, SubscribeOptions, Subscription } from '../../plugin/client/index.ts'
import { breaking, ending, ScriptedServer, status, streaming } from '../support/network/scripted-server.ts'

const FAST = { backoff: { initialMs: 1, maxMs: 5 } } as const

function start (
  t: Test,
  server: ScriptedServer,
  options: Partial<SubscribeOptions> = {}
): { subscription: Subscription, errors: ErrorDetail[], data: () => Promise<string> } {
  const subscription = subscribe({ url: server.url, ...FAST, ...options })
  t.teardown(() => subscription.close())
  const errors: ErrorDetail[] = []
  subscription.addEventListener('error', ({ detail }) => { errors.push(detail) })
  return {
    subscription,
    errors,
    data: () => new Promise(resolve => subscription.addEventListener('message', ({ data }) => resolve(data), {
      once: true
    }))
  }
}

t.test('an error page in place of a stream that was open before, as a proxy sends it, is a temporary failure', async t => {
  const page = status(200, { 'content-type': 'text/html' }, '<h1>maintenance</h1>')
  const server = await ScriptedServer.start(t, ending('data: a\n\n'), page, streaming('data: b\n\n'))
  const { data, errors } = start(t, server)
  t.equal(await data(), 'a')
  t.equal(await data(), 'b')
  t.match(errors, [
    { status: 200, willRetry: true, message: 'expected content-type text/event-stream, saw "text/html"' }
  ])
})

t.test('redirects are followed, and an endless redirect is a temporary failure', async t => {
  const server = await ScriptedServer.start(t, status(307, { location: '/elsewhere' }), streaming('data: a\n\n'))
  t.equal(await start(t, server).data(), 'a')
  const looping = await ScriptedServer.start(t, status(302, { location: '/events' }))
  const { subscription } = start(t, looping, { backoff: { initialMs: 100_000 } })
  const detail = await new Promise<ErrorDetail>(
    resolve => subscription.addEventListener('error', event => resolve(event.detail), { once: true })
  )
  t.match(detail, { willRetry: true, message: /fetch failed/ })
})

t.test('the reason of a response is its JSON message, if that is text of reasonable length', async t => {
  const bodies = ['{"message":7}', 'null', '<html>', JSON.stringify({ message: 'x'.repeat(20_000) })]
  const server = await ScriptedServer.start(
    t,
    ...bodies.map(body => status(503, {}, body)),
    status(503, {}, '{"message":"later"}'),
    streaming('data: a\n\n')
  )
  const { data, errors } = start(t, server)
  t.equal(await data(), 'a')
  t.same(errors.map(({ message }) => message), [...bodies.map(() => '503 Service Unavailable'), '503 later'])
})

t.test('Retry-After is honoured: in seconds, as a date, and not when it is neither', async t => {
  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString()
  for (const [value, atLeastMs] of [['1800', 1_800_000], [inAnHour, 3_500_000], ['0', 0], ['soon', 0]] as const) {
    const server = await ScriptedServer.start(t, status(503, { 'retry-after': value }))
    const { subscription } = start(t, server)
    const retryInMs = await new Promise<number>(resolve => subscription.addEventListener('state', ({ detail }) => {
      if (detail.state === 'waiting') resolve(detail.retryInMs!)
    }))
    t.ok(atLeastMs === 0 ? retryInMs <= 5 : retryInMs >= atLeastMs, `${value}: ${retryInMs}`)
  }
})

t.test('half a frame, then the end: the event is not dispatched, and arrives with the next connection', async t => {
  const server = await ScriptedServer.start(
    t,
    breaking('id: 1-1\ndata: a\n\nid: 1-2\ndata: b\n'),
    streaming('id: 1-2\ndata: b\n\n')
  )
  const { data } = start(t, server)
  t.equal(await data(), 'a')
  t.equal(await data(), 'b')
  t.equal(server.requests[1]!.headers['last-event-id'], '1-1')
})

t.test('an event without an end is abandoned before it fills the memory', async t => {
  let isCancelled = false
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  const endless: typeof fetch = async () => new Response(new ReadableStream({
    start: controller => controller.enqueue(Buffer.from('data: ')),
    pull: controller => controller.enqueue(chunk),
    cancel () { isCancelled = true }
  }, { highWaterMark: 0 }), { headers: { 'content-type': 'text/event-stream' } })
  const subscription = subscribe({
    url: 'http://stream.test/', transport: fetchTransport(endless), backoff: { initialMs: 100_000 }
  })
  t.teardown(() => subscription.close())
  const detail = await new Promise<ErrorDetail>(
    resolve => subscription.addEventListener('error', event => resolve(event.detail), { once: true })
  )
  t.match(detail, { willRetry: true, message: /exceeded max buffer size/ })
  t.ok(isCancelled)
})

// Regression: 700 MB were read in 4 s, until the stall watch would have noticed after a minute.
t.test('an error response without an end is abandoned too', async t => {
  let isCancelled = false
  let pulled = 0
  const endless: typeof fetch = async () => new Response(new ReadableStream({
    pull (controller) { pulled++; controller.enqueue(Buffer.alloc(1024, 'x')) },
    cancel () { isCancelled = true }
  }, { highWaterMark: 0 }), { status: 500, statusText: 'A bug' })
  const subscription = subscribe({
    url: 'http://stream.test/', transport: fetchTransport(endless), backoff: { initialMs: 100_000 }
  })
  t.teardown(() => subscription.close())
  const detail = await new Promise<ErrorDetail>(
    resolve => subscription.addEventListener('error', event => resolve(event.detail), { once: true })
  )
  t.match(detail, { willRetry: true, message: '500 A bug' })
  t.ok(isCancelled)
  t.ok(pulled < 20, `${pulled} KiB`)
})

t.test('control events that are unreadable or unknown are ignored', async t => {
  const server = await ScriptedServer.start(t, streaming(
    'event: stream.gap\ndata: {\n\nevent: stream.end\ndata: null\n\nevent: stream.expiring\ndata: 5\n\nevent: ' +
      'stream.new\ndata: {}\n\nevent: stream.expired\ndata: {}\n\nunknown: x\nretry: soon\ndata: a\n\n'
  ))
  const { subscription, data, errors } = start(t, server)
  subscription.addEventListener('gap', () => t.fail('an unreadable gap'))
  t.equal(await data(), 'a')
  t.same(errors, [])
})

t.test('an error in band is reported, and the client reconnects', async t => {
  const server = await ScriptedServer.start(
    t,
    ending('event: stream.error\ndata: {"statusCode":500,"message":"Internal Server Error"}\n\n'),
    streaming('data: a\n\n')
  )
  const { data, errors } = start(t, server)
  t.equal(await data(), 'a')
  t.match(errors, [{ message: 'Internal Server Error', willRetry: true }])
})

t.test('a token that cannot be renewed is reported, and the stream continues until it expires', async t => {
  let calls = 0
  const getToken = (): string => { if (++calls > 1) throw new Error('signed out'); return 'x' }
  const server = await ScriptedServer.start(
    t,
    streaming('event: stream.expiring\ndata: {"expiresIn":60}\n\ndata: a\n\n')
  )
  const { data, subscription } = start(t, server, { getToken })
  const failed = new Promise<ErrorDetail>(
    resolve => subscription.addEventListener('error', event => resolve(event.detail), { once: true })
  )
  t.equal(await data(), 'a')
  t.match(await failed, { message: 'signed out', willRetry: true })
  t.equal(subscription.state, 'open')
  t.equal(server.requests.length, 1)
})

t.test('without SHA-256, the plain id is sent as it is', async t => {
  const { crypto } = globalThis
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true })
  t.teardown(() => Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true }))
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'), streaming('data: b\n\n'))
  const { subscription, data } = start(t, server, { topics: ['a'] })
  t.equal(await data(), 'a')
  subscription.add('b', 'a')
  t.equal(await data(), 'b')
  t.equal(server.requests[1]!.headers['last-event-id'], '1-1')
})

t.test('calls after the end have no effect; reconnect() before it opens a connection', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const { subscription, data } = start(t, server)
  const ignored = (): void => { t.fail('the listener was removed') }
  subscription.addEventListener('message', ignored)
  subscription.removeEventListener('message', ignored)
  t.equal(await data(), 'a')
  subscription.reconnect()
  t.equal(await data(), 'a')
  t.equal(server.requests.length, 2)
  const loop = subscription[Symbol.asyncIterator]()
  subscription.close()
  subscription.close()
  subscription.reconnect()
  subscription.add('b')
  t.same(await loop.next(), { done: true, value: undefined })
  t.same(await loop.next(), { done: true, value: undefined })
  t.same(await loop.return!(), { done: true, value: undefined })
  t.equal(server.requests.length, 2)
})

t.test('a response without a content type is not a stream', async t => {
  const server = await ScriptedServer.start(t, status(200))
  const { subscription } = start(t, server)
  const detail = await new Promise<ErrorDetail>(
    resolve => subscription.addEventListener('error', event => resolve(event.detail), { once: true })
  )
  t.match(detail, { status: 200, willRetry: false, message: 'expected content-type text/event-stream, saw ""' })
})

t.test('data is what the parse option returns', async t => {
  const server = await ScriptedServer.start(t, streaming('data: {"n":7}\n\n'))
  const subscription = subscribe<{ message: { n: number } }>({
    url: server.url, withCredentials: true, parse: text => JSON.parse(text) as { n: number }
  })
  t.teardown(() => subscription.close())
  t.same(await new Promise(resolve => subscription.addEventListener('message', ({ data }) => resolve(data))), { n: 7 })
})

// Regression: the exception passed for a network error. The client connected again after the event, which was lost
// without a gap.
t.test('an event that parse rejects is reported with its id, and the stream continues', async t => {
  const server = await ScriptedServer.start(
    t, streaming('id: 1-1\ndata: 1\n\nid: 1-2\ndata: x\n\nid: 1-3\ndata: 3\n\n')
  )
  const { subscription, errors } = start(t, server, { topics: ['a'], parse: text => JSON.parse(text) as string })
  const received: unknown[] = []
  subscription.addEventListener('message', ({ data }) => { received.push(data) })
  const items: unknown[] = []
  for await (const item of subscription) if (items.push(item) === 3) break
  t.same(received, [1, 3])
  t.match(items, [
    { kind: 'event', data: 1 },
    { kind: 'error', id: '1-2', topic: 'a', cause: { name: 'SyntaxError' } },
    { kind: 'event', data: 3 }
  ])
  t.match(errors, [{ id: '1-2', topic: 'a', message: /JSON/, cause: { name: 'SyntaxError' }, willRetry: true }])
  t.equal(server.requests.length, 1)
})

t.test('any thrown value is described, and a cursor that is not a plain id is kept', async t => {
  t.same([messageOf(new Error('a')), messageOf('b'), messageOf(undefined)], ['a', 'b', 'the connection was lost'])
  t.same([
    positionOf('tagaaa', '1000-7'), positionOf('tagaaa', 'v,w'), positionOf('tagaaa', '')
  ], ['tagaaars-7', 'v,w', ''])
})

t.test('a subscription that is closed while it requests a token opens no connection', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  let answer = (token: string): void => { t.fail(token) }
  const { subscription } = start(t, server, {
    topics: ['a'], getToken: () => new Promise<string>(resolve => { answer = resolve })
  })
  await new Promise(resolve => setImmediate(resolve))
  subscription.add('a')
  subscription.close()
  answer('late')
  await new Promise(resolve => setImmediate(resolve))
  t.equal(server.requests.length, 0)
})
