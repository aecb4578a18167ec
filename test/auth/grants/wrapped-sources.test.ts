import t from 'tap'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { injectSse } from '../../../plugin/testing/index.ts'
import type { SseSource, SseStream } from '../../../plugin/index.ts'
import type { TopicSource, TopicSubscription } from '../../../plugin/topics/index.ts'
import { MemoryTokenStore } from '../../../plugin/auth/index.ts'
import { ask, listenTo, startAuthApp } from '../../support/auth/auth-app.ts'

// Regression: a wrapped subscription, `{ prepare: s => sub.prepare(s), run: s => sub.run(s) }`, streamed the topic
// `secret` to a grant for `news`: the grant was compared with the `topics` of the object passed to reply.sse(), and the
// wrapper had none. A function that returned a subscription streamed nothing at all, an empty 200 each time.

const delayed = <T>(value: T): Promise<T> => new Promise(resolve => { setTimeout(resolve, 20, value) })

/** Every way to pass on a subscription. */
const wrappers: Record<string, (source: TopicSource) => SseSource> = {
  bare: source => source,
  copied: source => ({ ...source }),
  'with open() alone': source => ({ open: stream => source.open(stream) }),
  'with open() detached': ({ open }) => ({ open }),
  'with other topics': source => ({ topics: ['news'], open: stream => source.open(stream) }),
  inherited: source => Object.create(source) as TopicSource,
  'a proxy': source => new Proxy(source, {}),
  'a promise': source => Promise.resolve(source),
  'a thenable': source => ({ then: (resolve: (value: TopicSource) => void) => { resolve(source) } }) as SseSource,
  'a function': source => () => source,
  'an async function': source => async () => source,
  'an async function that takes its time': source => () => delayed(source),
  'a function that takes the stream': source => (stream: SseStream) => stream.isOpen ? source : [],
  'an async function that takes the stream': source => async (stream: SseStream) => stream.isOpen ? source : [],
  'a generator that returns it': source => (function * () { return source })(),
  'an async generator function that returns it': source => async function * () { return source },
  'a wrapper around a wrapper': source => async () => ({ open: stream => ({ ...source }).open(stream) })
}

async function start (
  t: Test,
  oneTimeToken?: { store: MemoryTokenStore }
): Promise<{ app: FastifyInstance, origin: string }> {
  return startAuthApp(t, {
    proxy: { header: 'x-user', from: ['127.0.0.1'], subscribe: ['news', 'closed'] }, ...oneTimeToken && { oneTimeToken }
  }, {
    after: app => {
      app.get<{ Params: { topic: string, way: string } }>('/:way/:topic', { grant: true }, ({ params }, reply) => {
        return reply.sse(wrappers[decodeURIComponent(params.way)]!(app.topics.subscribe(params.topic)))
      })
    }
  })
}

const path = (way: string, topic: string): string => `/${encodeURIComponent(encodeURIComponent(way))}/${topic}`
const user = { 'x-user': 'alice' }

t.test('a wrapped subscription is restricted by the grant, whatever the wrapper', async t => {
  const { app, origin } = await start(t)
  for (const way of Object.keys(wrappers)) {
    t.match(await ask(t, origin + path(way, 'secret'), user), { status: 403, json: { code: 'FST_SSE_FORBIDDEN' } }, way)
    const { inbox, close } = await listenTo(t, origin, path(way, 'news'), user)
    await inbox.until('stream.open')
    await app.topics.publish('news', { data: `for ${way}` })
    await inbox.until(`for ${way}`)
    close()
  }
})

t.test('a wrapped subscription sends 204 to a client that has read a closed topic to its end', async t => {
  const { app, origin } = await start(t)
  const { ids: [last] } = await app.topics.publish('closed', { data: 'the last' })
  await app.topics.close('closed')
  for (const way of Object.keys(wrappers)) {
    const { status, text } = await ask(t, origin + path(way, 'closed'), { ...user, 'last-event-id': last! })
    t.match({ status, text }, { status: 204, text: '' }, way)
  }
})

t.test('an unavailable log is a 200 with a retry for EventSource, whatever the wrapper', async t => {
  const { app, origin } = await start(t)
  const away: TopicSubscription = {
    ...app.topics.subscribe('news'), open: async () => { throw Object.assign(new Error('away'), { statusCode: 503 }) }
  }
  app.topics.subscribe = () => away
  for (const way of Object.keys(wrappers)) {
    const accept = { ...user, accept: 'text/event-stream' }
    const told = await ask(t, origin + path(way, 'news'), accept)
    t.match({ ...told, text: told.text.trimEnd() }, { status: 200, text: /retry: \d+$/ }, way)
    t.equal((await ask(t, origin + path(way, 'news'), { ...user, accept: '*/*' })).status, 503, way)
  }
})

t.test('topics that become known after the first byte end the stream if the grant does not cover them', async t => {
  const { app, origin } = await startAuthApp(t, {
    proxy: { header: 'x-user', from: ['127.0.0.1'], subscribe: ['news'] }
  }, {
    after: app => {
      app.get('/late', { grant: true }, (request, reply) => reply.sse(async function * () {
        yield 'first'
        await delayed(undefined)
        return app.topics.subscribe('secret', { last: 1 })
      }))
    }
  })
  await app.topics.publish('secret', { data: 'not for alice' })
  const { status, text } = await ask(t, `${origin}/late`, user)
  t.equal(status, 200)
  t.match(text, /data: first\n\nevent: stream.error\ndata: \{"statusCode":403/)
  t.notMatch(text, 'not for alice')
})

t.test('a source with its own topics is restricted by the grant, of any kind and in any list', async t => {
  const sources: SseSource[] = [
    Object.assign(['a'], { topics: 'secret' }),
    Object.assign(() => ['a'], { topics: ['secret'] }),
    Object.assign((stream: SseStream) => { stream.push({ data: 'a' }) }, { topics: ['news', 'secret'] }),
    Object.assign(Promise.resolve(['a']), { topics: new Set(['secret']) })
  ]
  const { origin } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'], subscribe: ['news'] } }, {
    after: app => {
      sources.forEach((source, at) => app.get(`/${at}`, { grant: true }, (request, reply) => reply.sse(source)))
    }
  })
  for (const at of sources.keys()) t.equal((await ask(t, `${origin}/${at}`, user)).status, 403)
})

// Regression: the handler of a manually written stream could write and end it before the one-time token was spent: the
// stream was over, so nothing was checked any more, and what it had written was sent.
t.test('a stream that ends at once is still admitted', async t => {
  const store = new MemoryTokenStore()
  const { app } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'] }, oneTimeToken: { store } }, {
    after: app => {
      app.get('/quick', { grant: true }, (request, reply) => {
        const stream = reply.sse()
        stream.push({ data: 'secret' })
        stream.end()
        return reply
      })
    }
  })
  const issued = await app.inject({ method: 'POST', url: '/events/auth', headers: user, remoteAddress: '127.0.0.1' })
  const { token } = issued.json<{ token: string }>()
  const headers = { accept: 'text/event-stream' }
  t.match(await app.inject({ url: `/quick?ot=${token}`, headers }), { statusCode: 200, body: /data: secret/ })
  const again = await app.inject({ url: `/quick?ot=${token}`, headers, remoteAddress: '127.0.0.9' })
  t.equal(again.statusCode, 401)
  t.notMatch(again.body, 'secret')
})

t.test('one subscription serves many clients at the same time, and no client loses an event', async t => {
  const { app } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'] } }, {
    after: app => {
      const shared = app.topics.subscribe('news')
      app.get('/shared', (request, reply) => reply.sse(shared))
    }
  })
  const { ids } = await app.topics.publish('news', [1, 2, 3, 4, 5].map(data => ({ data })))
  const streams = await Promise.all(ids.map(id => injectSse(app, { url: '/shared', headers: { 'last-event-id': id } })))
  for (const [at, stream] of streams.entries()) {
    const missed = ids.slice(at + 1)
    t.same((await stream.next(1 + missed.length)).slice(1).map(({ id }) => id), missed, `after event ${at + 1}`)
    stream.close()
  }
})
