import { getEventListeners } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { subscribe, SubscriptionError } from '../../plugin/client/index.ts'
import type {
  ControlEvents,
  ErrorDetail,
  EventOf,
  StreamItem,
  SubscribeOptions,
  Subscription
} from '../../plugin/client/index.ts'
import type { Outcome } from '../../plugin/client/connection/transport.ts'
import { breaking, ending, ScriptedServer, status, streaming } from '../support/network/scripted-server.ts'

const FAST = { backoff: { initialMs: 1, maxMs: 5 } } as const

function start (t: Test, server: ScriptedServer, options: Partial<SubscribeOptions> = {}): Subscription {
  const subscription = subscribe({ url: options.url ?? server.url, ...FAST, ...options })
  t.teardown(() => subscription.close())
  return subscription
}

/** Waits for the first event with this name. */
function once<Name extends keyof ControlEvents | 'message'> (
  subscription: Subscription,
  name: Name
): Promise<EventOf<Record<string, string>, Name>> {
  return new Promise(resolve => subscription.addEventListener(name, event => resolve(event), { once: true }))
}

/** Reads the data of the first events. */
async function take (subscription: Subscription, count: number): Promise<string[]> {
  const datas: string[] = []
  for await (const item of subscription) {
    if (item.kind === 'event') datas.push(item.data)
    if (datas.length === count) break
  }
  return datas
}

t.test('it reconnects after each end, with the cursor, and no event is repeated', async t => {
  const server = await ScriptedServer.start(
    t,
    ending('id: 1-1\ndata: a\n\n'),
    breaking('id: 1-2\ndata: b\n\nid: 1-3\ndata: cut'),
    streaming('id: 1-3\ndata: c\n\n')
  )
  t.same(await take(start(t, server), 3), ['a', 'b', 'c'])
  t.same(server.requests.map(({ headers }) => headers['last-event-id']), [undefined, '1-1', '1-2'])
})

t.test('stream.open moves the cursor, so that a drop before the first event resumes', async t => {
  const server = await ScriptedServer.start(
    t,
    ending('id: 5-5\nevent: stream.open\ndata\n\n'),
    streaming('id: 5-6\ndata: a\n\n')
  )
  t.same(await take(start(t, server), 1), ['a'])
  t.equal(server.requests[1]!.headers['last-event-id'], '5-5')
})

t.test('it starts at the given cursor', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const subscription = start(t, server, { lastEventId: '7-7', topics: ['b', 'a', 'b'] })
  t.same(await take(subscription, 1), ['a'])
  t.equal(server.requests[0]!.headers['last-event-id'], '7-7')
  t.equal(server.requests[0]!.url, '/events?topic=a&topic=b&envelope=true')
  t.equal(server.requests[0]!.headers.accept, 'text/event-stream')
})

t.test('it retries after temporary failures: 408, 425, 429, 5xx, and an unreachable server', async t => {
  for (const code of [408, 425, 429, 500, 502, 503, 504]) {
    const server = await ScriptedServer.start(t, status(code, {}, '{"message":"busy"}'), streaming('data: a\n\n'))
    const subscription = start(t, server)
    const failed = once(subscription, 'error')
    t.same(await take(subscription, 1), ['a'])
    t.match((await failed).detail, { status: code, message: `${code} busy`, willRetry: true })
  }
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const { url } = server
  server.stop()
  const subscription = start(t, server, { url })
  t.match((await once(subscription, 'error')).detail, { willRetry: true, status: undefined })
})

t.test('other responses end it with an error that contains the status and the reason', async t => {
  for (const code of [400, 401, 403, 404, 406, 410]) {
    const server = await ScriptedServer.start(t, status(code, {}, '{"message":"no such thing"}'))
    const subscription = start(t, server)
    const failed = once(subscription, 'error')
    await t.rejects(
      take(subscription, 1),
      new SubscriptionError({ message: `${code} no such thing`, status: code, willRetry: false })
    )
    t.match((await failed).detail, { status: code, message: `${code} no such thing`, willRetry: false })
    t.equal(subscription.state, 'closed')
    t.equal(server.requests.length, 1)
  }
})

t.test('204 ends it, and so does the end of a stream after the end of each topic', async t => {
  const done = await ScriptedServer.start(t, status(204))
  const subscription = start(t, done)
  const items: StreamItem[] = []
  for await (const item of subscription) items.push(item)
  t.same(items, [{ kind: 'end', reason: 'closed' }])

  const finishing = await ScriptedServer.start(t, ending(
    'event: stream.end\ndata: {"topic":"a"}\n\ndata: x\n\nevent: stream.end\ndata: {"topic":"b","reason":"done"}\n\n'
  ))
  const both = start(t, finishing, { topics: ['a', 'b'] })
  const seen: StreamItem[] = []
  for await (const item of both) seen.push(item)
  t.match(seen, [{ kind: 'end', topic: 'a', reason: 'closed' }, { kind: 'event', data: 'x' }, {
    kind: 'end', topic: 'b', reason: 'done'
  }])
  t.equal(both.state, 'closed')
  t.equal(finishing.requests.length, 1)
})

// It closed with the end of the last topic, although another one had been deleted, and thereby reopened, after its end.
t.test('a topic with an event or a gap after its end, or without an end in the next stream, is open', async t => {
  const end = (topic: string): string => `event: stream.end\ndata: {"topic":"${topic}"}\n\n`
  const event = (data: string): string => `data: {"topic":"a","id":"1-1","event":"message","data":"${data}"}\n\n`
  const gap = 'event: stream.gap\ndata: {"topic":"a","reason":"expired","after":null,"resumedAt":null}\n\n'
  const open = 'event: stream.open\ndata\n\n'
  for (const steps of [
    [streaming(open + end('a') + event('1') + end('b') + event('last'))],
    [streaming(open + end('a') + gap + end('b') + event('last'))],
    // Deleted between the two ends: only the server knows.
    [streaming(open + end('a') + end('b') + event('last'))],
    [ending(open + end('a')), streaming(open + end('b') + event('last'))],
    // The connection broke before the server could say more.
    [breaking(open + end('a') + end('b')), streaming(open + event('last'))]
  ]) {
    const server = await ScriptedServer.start(t, ...steps)
    const subscription = start(t, server, { topics: ['a', 'b'] })
    let last = ''
    for await (const item of subscription) if (item.kind === 'event' && (last = item.data) === 'last') break
    t.equal(last, 'last')
  }
})

t.test('a gap is a separate event and a separate item of the loop, before the events that follow it', async t => {
  const gap = { topic: 'a', reason: 'trimmed', after: '1-1', resumedAt: '2-9', missed: 7 }
  const server = await ScriptedServer.start(
    t,
    streaming(`event: stream.gap\ndata: ${JSON.stringify(gap)}\n\nid: 2-9\ndata: x\n\n`)
  )
  const subscription = start(t, server)
  const seen = once(subscription, 'gap')
  const items: StreamItem[] = []
  for await (const item of subscription) if (items.push(item) === 2) break
  t.match(items, [{ kind: 'gap', ...gap }, { kind: 'event', data: 'x', id: '2-9' }])
  t.same((await seen).detail, gap)
})

t.test('the envelope contains topic and id, and a server without envelopes is understood too', async t => {
  const inside = JSON.stringify({ topic: 'b', id: '3-4', event: 'score', data: '1:0' })
  const server = await ScriptedServer.start(t, streaming(
    `id: v,w\nevent: score\ndata: ${inside}\n\nid: v,x\nevent: score\ndata: plain\n\nid: v,y\ndata: {"topic":"zzz","id":"1-1","event":"e","data":"d"}\n\n`
  ))
  const items: StreamItem[] = []
  for await (const item of start(t, server, { topics: ['a', 'b'] })) if (items.push(item) === 3) break
  t.match(items, [
    { kind: 'event', topic: 'b', id: '3-4', event: 'score', data: '1:0', lastEventId: 'v,w' },
    { kind: 'event', topic: undefined, id: 'v,x', event: 'score', data: 'plain' },
    { kind: 'event', topic: undefined, data: '{"topic":"zzz","id":"1-1","event":"e","data":"d"}' }
  ])
})

t.test('a token is requested once, again when it is rejected, and not a third time in a row', async t => {
  let count = 0
  const getToken = async (): Promise<string> => `token-${++count}`
  const server = await ScriptedServer.start(t, ending(
    'data: a\n\n'
  ), ending('data: b\n\n'), status(401), ending('data: c\n\n'), status(401), status(401))
  const subscription = start(t, server, { getToken })
  const errors: ErrorDetail[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail))
  await t.rejects(take(subscription, 9), { message: '401 Unauthorized', status: 401 })
  t.same(
    server.requests.map(({ headers }) => headers.authorization),
    [1, 1, 1, 2, 2, 3].map(number => `Bearer token-${number}`)
  )
  t.same(errors.map(({ willRetry }) => willRetry), [true, true, false])
})

// Regression: the subscription ended, although it had another token to get.
t.test('a token that expires while the server is unavailable is replaced too', async t => {
  let count = 0
  const getToken = (): string => `token-${++count}`
  const server = await ScriptedServer.start(t, status(401), status(503), status(401), ending('data: a\n\n'))
  t.same(await take(start(t, server, { getToken }), 1), ['a'])
  t.same(server.requests.map(({ headers }) => headers.authorization?.slice(-1)), ['1', '2', '2', '3'])
})

// Regression: the envelope was the data, and an event of another topic had the name of the added one.
t.test('topics in the query of the URL are topics like the others', async t => {
  const inside = (topic: string): string => JSON.stringify({ topic, id: '1-1', event: 'message', data: topic })
  const server = await ScriptedServer.start(t, streaming(
    `id: v\ndata: ${inside('a')}\n\nid: w\ndata: ${inside('b')}\n\nid: x\ndata: ${inside('c')}\n\n`
  ))
  const items: StreamItem[] = []
  for await (const item of start(t, server, { url: `${server.url}?topic=b&topic=a`, topics: ['c'] })) {
    if (items.push(item) === 3) break
  }
  t.match(items, ['a', 'b', 'c'].map(topic => ({ topic, data: topic })))
  t.equal(server.requests[0]!.url, '/events?topic=a&topic=b&topic=c&envelope=true')
})

// Regression: everything after a second `?` was ignored, and topics in it were removed from the URL.
t.test('a query with a question mark in a value keeps its topics', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  await take(start(t, server, { url: `${server.url}?from=/x?y&topic=a#top` }), 1)
  t.equal(server.requests[0]!.url, '/events?from=%2Fx%3Fy&topic=a')
})

// Regression: a signal that lives longer kept every closed subscription in memory.
t.test('a closed subscription does not listen to its signal', async t => {
  const { signal } = new AbortController()
  const server = await ScriptedServer.start(t, streaming(''))
  const subscription = start(t, server, { signal })
  t.equal(getEventListeners(signal, 'abort').length, 1)
  subscription.close()
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

t.test('a token for the query is used for one connection', async t => {
  let count = 0
  const server = await ScriptedServer.start(t, ending('data: a\n\n'), streaming('data: b\n\n'))
  t.same(await take(start(t, server, { getToken: () => `t${++count}`, tokenParameter: 'ot', topics: ['a'] }), 2), [
    'a', 'b'
  ])
  t.same(server.requests.map(({ url }) => url), ['/events?topic=a&ot=t1', '/events?topic=a&ot=t2'])
  t.ok(server.requests.every(({ headers }) => headers.authorization === undefined))
})

t.test('before its grant expires it reconnects with a new token', async t => {
  let count = 0
  const server = await ScriptedServer.start(
    t,
    streaming('id: 1-1\ndata: a\n\nevent: stream.expiring\ndata: {"expiresIn":60}\n\n'),
    streaming('id: 1-2\ndata: b\n\n')
  )
  const subscription = start(t, server, { getToken: () => `t${++count}` })
  const expiring = once(subscription, 'expiring')
  t.same(await take(subscription, 2), ['a', 'b'])
  t.same((await expiring).detail, { expiresIn: 60 })
  t.same(server.requests.map(({ headers }) => [headers.authorization, headers['last-event-id']]), [
    ['Bearer t1', undefined], ['Bearer t2', '1-1']
  ])
})

t.test('a getToken or a headers function that fails is called again', async t => {
  let calls = 0
  const failing = <T>(value: T) => (): T => { if (calls++ === 0) throw new Error('no session yet'); return value }
  for (const options of [{ getToken: failing('x') }, { headers: failing({ 'x-y': 'x' }) }]) {
    calls = 0
    const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
    const subscription = start(t, server, options)
    const failed = once(subscription, 'error')
    t.same(await take(subscription, 1), ['a'])
    t.match((await failed).detail, { message: 'no session yet', willRetry: true })
  }
})

t.test('a getToken may close the subscription, and its failure is not reported then', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const subscription = start(t, server, {
    getToken () {
      subscription.close()
      throw new Error('signed out')
    }
  })
  const errors: ErrorDetail[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail))
  t.same((await subscription[Symbol.asyncIterator]().next()).done, true)
  t.same([subscription.state, errors, server.requests], ['closed', [], []])
})

t.test('headers are sent', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  t.same(await take(start(t, server, { headers: { 'x-tenant': '7' } }), 1), ['a'])
  t.equal(server.requests[0]!.headers['x-tenant'], '7')
})

t.test('a stream that falls silent is abandoned, and a new connection is opened', async t => {
  const server = await ScriptedServer.start(
    t,
    streaming('id: 1-1\ndata: a\n\n'),
    () => {},
    streaming('id: 1-2\ndata: b\n\n')
  )
  const subscription = start(t, server, { stallTimeoutMs: 100 })
  const errors: ErrorDetail[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail))
  t.same(await take(subscription, 2), ['a', 'b'])
  t.ok(
    errors.length >= 2 && errors.every(({ message, willRetry }) => willRetry && message.startsWith('no bytes for ')),
    'of a stream, and of a request without a response'
  )
})

// Regression: it was ignored until the wait had passed.
t.test('reconnect() in a listener of the failure, of the wait or of the attempt connects again immediately', async t => {
  const server = await ScriptedServer.start(t, status(503), ending(''), streaming('data: a\n\n'))
  const subscription = start(t, server, { backoff: { initialMs: 3_600_000, maxMs: 3_600_000 } })
  const errors: ErrorDetail[] = []
  subscription.addEventListener('error', ({ detail }) => {
    errors.push(detail)
    subscription.reconnect()
  })
  subscription.addEventListener('state', ({ detail }) => { if (detail.state === 'waiting') subscription.reconnect() })
  t.same(await take(subscription, 1), ['a'])
  t.match(errors, [{ status: 503 }])
})

t.test('topics are added and removed in place', async t => {
  const a = JSON.stringify({ topic: 'a', id: '1-2', event: 'message', data: 'A' })
  const server = await ScriptedServer.start(
    t,
    streaming('id: 1000-7\ndata: first\n\n'),
    streaming(`id: v\ndata: ${a}\n\n`),
    streaming('id: 1-3\ndata: last\n\n')
  )
  const subscription = start(t, server, { topics: ['a'] })
  const loop = subscription[Symbol.asyncIterator]()
  const next = async (): Promise<string> => {
    const { value } = await loop.next()
    return value?.kind === 'event' ? value.data : ''
  }
  t.equal(await next(), 'first')
  subscription.add('b')
  t.same(subscription.topics, ['a', 'b'])
  t.equal(await next(), 'A')
  subscription.remove('a')
  t.equal(await next(), 'last')
  t.same(server.requests.map(({ url, headers }) => [url, headers['last-event-id']]), [
    ['/events?topic=a', undefined],
    // Regression: a plain id does not say which topic it belongs to: it became the position of `a`, with its tag.
    ['/events?topic=a&topic=b&envelope=true', 'ypeBEsrs-7'],
    ['/events?topic=b', 'v']
  ])
})

// Regression: the id of `a` was sent for `b`, which then began with a gap and its oldest events.
t.test('a topic that replaces another one starts now', async t => {
  const server = await ScriptedServer.start(t, streaming('id: 1000-7\ndata: first\n\n'), streaming(':\n\n'))
  const subscription = start(t, server, { topics: ['a'] })
  await once(subscription, 'message')
  subscription.remove('a')
  subscription.add('b')
  while (server.requests.length < 2 || subscription.state !== 'open') await once(subscription, 'state')
  t.same(server.requests.map(({ url, headers }) => [url, headers['last-event-id']]), [
    ['/events?topic=a', undefined],
    ['/events?topic=b', 'ypeBEsrs-7']
  ])
})

t.test('without SHA-256, a topic that replaces another one starts now', async t => {
  const { crypto } = globalThis
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true })
  t.teardown(() => Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true }))
  const server = await ScriptedServer.start(t, streaming('id: 1000-7\ndata: first\n\n'), streaming(':\n\n'))
  const subscription = start(t, server, { topics: ['a'] })
  await once(subscription, 'message')
  subscription.remove('a')
  subscription.add('b')
  while (server.requests.length < 2) await once(subscription, 'state')
  t.same(server.requests[1]!.headers['last-event-id'], undefined)
})

t.test('without topics there is no connection, and adding one opens it again', async t => {
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'))
  const subscription = start(t, server, { topics: [] })
  const waiting = new Promise<void>(resolve => subscription.addEventListener('state', ({ detail }) => {
    if (detail.state === 'waiting') resolve()
  }))
  await waiting
  t.equal(server.requests.length, 0)
  subscription.add('a')
  t.same(await take(subscription, 1), ['a'])
})

t.test('a slow loop pauses the reading, and receives everything', async t => {
  const text = Array.from({ length: 5_000 }, (_, at) => `id: 1-${at + 1}\ndata: ${at} ${'x'.repeat(1_000)}\n\n`)
    .join('')
  const server = await ScriptedServer.start(t, streaming(text))
  let seen = 0
  for await (const item of start(t, server)) {
    if (item.kind !== 'event') continue
    if (!item.data.startsWith(`${seen} `)) t.fail(`expected ${seen}, saw ${item.data.slice(0, 10)}`)
    await new Promise(resolve => setImmediate(resolve))
    if (++seen === 5_000) break
  }
  t.equal(seen, 5_000)
})

t.test('it ends when it is closed, by a signal, and when the loop is left', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const byClose = start(t, server)
  await once(byClose, 'message')
  byClose.close()
  t.equal(byClose.state, 'closed')
  for await (const item of byClose) t.fail(`no item is expected after the end, saw ${item.kind}`)

  const controller = new AbortController()
  const bySignal = start(t, server, { signal: controller.signal })
  const rest = take(bySignal, 2)
  await once(bySignal, 'message')
  controller.abort()
  t.same(await rest, ['a'])
  t.equal(start(t, server, { signal: AbortSignal.abort() }).state, 'closed')

  const byLoop = start(t, server)
  t.same(await take(byLoop, 1), ['a'])
  t.equal(byLoop.state, 'closed')
})

t.test('an invalid option is an error that names it', async t => {
  const bad: [object, string][] = [
    [{ topic: 'a' }, 'subscribe: unknown option "topic"'], [
      { topics: 'a' }, 'subscribe: option topics must be an array of names, saw "a"'
    ],
    [{ topics: [''] }, 'subscribe: option topics must be an array of names, saw \\[""\\]'], [
      { lastEventId: 7 }, 'subscribe: option lastEventId must be of type string, saw 7'
    ],
    [{ stallTimeoutMs: -1 }, 'subscribe: option stallTimeoutMs must be milliseconds from 0 to 2147483647, saw -1'], [
      { stallTimeoutMs: NaN }, 'saw null'
    ], [{ backoff: null }, 'subscribe: option backoff must be of type object, saw null'],
    [
      { backoff: { maxMs: 2 ** 31 } },
      'subscribe: option backoff.maxMs must be milliseconds from 0 to 2147483647, saw 2147483648'
    ], [{ backoff: { initialMs: -1 } }, 'option backoff.initialMs'],
    [{ backoff: { bogus: 1 } }, 'subscribe: unknown option "backoff.bogus"'], [
      { backoff: { maxMs: '50' } }, 'option backoff.maxMs must be milliseconds from 0 to 2147483647, saw "50"'
    ], [{ backoff: [1] }, 'unknown option "backoff.0"'], [{ backoff: { initialMs: null } }, 'backoff.initialMs'],
    [{ getToken: 'x' }, 'subscribe: option getToken must be of type function, saw "x"'], [
      { parse: 1 }, 'option parse'
    ], [{ transport: {} }, 'option transport'], [{ url: undefined }, 'option url must be a URL, saw undefined'],
    [{ headers: 7 }, 'subscribe: option headers must be of type object or function, saw 7'], [
      { signal: 1 }, 'option signal'
    ], [{ withCredentials: 1 }, 'option withCredentials'], [{ lastEventId: () => {} }, 'saw function']
  ]
  for (const [options, message] of bad) {
    t.throws(() => subscribe({ url: 'http://127.0.0.1:1/', ...options }), {
      name: 'TypeError', message: new RegExp(message)
    })
  }
  t.throws(() => subscribe({ url: '/events' }), { name: 'TypeError' }, 'without a page, a URL is absolute')
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  const none = {
    topics: undefined,
    lastEventId: undefined,
    getToken: undefined,
    tokenParameter: undefined,
    headers: undefined,
    withCredentials: undefined,
    envelope: undefined,
    parse: undefined,
    persist: undefined,
    signal: undefined,
    backoff: undefined,
    stallTimeoutMs: undefined,
    transport: undefined
  }
  t.same(await take(start(t, server, none), 1), ['a'], 'undefined counts as not given')
})

// Regression: it was closed without the new topic, because the cursor is converted asynchronously.
t.test('a subscription whose topics end while one is added continues with that', async t => {
  const outcomes = [{ kind: 'ended' }, { kind: 'rejected', status: 204, message: '' }, undefined] as const
  for (const outcome of outcomes) {
    const untilAborted = (signal: AbortSignal): Promise<Outcome> =>
      new Promise(resolve => { signal.onabort = () => resolve({ kind: 'ended' }) })
    const requested = await new Promise<string[][]>(resolve => {
      const requested: string[][] = []
      const subscription = subscribe({
        url: 'http://x.test/events',
        topics: ['a'],
        transport: async ({ url }, sink, signal) => {
          requested.push(url.searchParams.getAll('topic'))
          if (requested.length === 2) resolve(requested)
          if (requested.length > 1) return await untilAborted(signal)
          sink.open()
          sink.message({ id: '1-1', event: 'stream.end', data: '{"topic":"a"}' })
          subscription.add('b')
          if (outcome !== undefined) return outcome
          // As an EventSource, which reports no end of a stream.
          sink.interrupted()
          return await untilAborted(signal)
        }
      })
      subscription.addEventListener('state', ({ detail: { state } }) => { if (state === 'closed') resolve(requested) })
      t.teardown(() => subscription.close())
    })
    t.same(requested, [['a'], ['a', 'b']], outcome?.kind ?? 'interrupted')
  }
})
