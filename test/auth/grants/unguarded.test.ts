import { once } from 'node:events'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyPluginAsync, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import { auth, Grant, MemoryTokenStore } from '../../../plugin/auth/index.ts'
import { listen } from '../../support/apps/app.ts'
import { fetchAll } from '../../support/clients/client.ts'
import { openHttp2, openSession } from '../../support/network/http2-client.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

// Regression: `grant: true` was silently ignored if the auth plugin did not see the route: it was not awaited (the
// usual Fastify idiom), registered later, registered in another scope, or not at all. JSON routes then answered
// everybody, and POST published.

const jwt = { jwt: { secret: SECRET } }
const plain = (app: FastifyInstance, options: object = { grant: true }): void => {
  app.get('/private', options, () => 'secret')
}

function newApp (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const unguarded: Record<string, (app: FastifyInstance) => Promise<void>> = {
  'auth was not awaited': async app => { app.register(sse); app.register(auth, jwt); plain(app) },
  'the streams were awaited and auth was not': async app => {
    await app.register(sse)
    app.register(auth, jwt)
    plain(app)
  },
  'auth is registered after the route': async app => { await app.register(sse); plain(app); await app.register(auth, jwt) },
  'auth was never registered': async app => { await app.register(sse); plain(app) },
  'auth was never registered, nor the streams awaited': async app => { app.register(sse); plain(app) },
  'auth is in a child scope, the route in the parent': async app => {
    await app.register(sse)
    await app.register(async inner => { await inner.register(auth, jwt) })
    plain(app)
  },
  'auth is in a sibling scope': async app => {
    await app.register(sse)
    await app.register(async inner => { await inner.register(auth, jwt) })
    await app.register(async inner => plain(inner), { prefix: '/sibling' })
  },
  'the streams are in a child scope, the route in the parent': async app => {
    plain(app)
    await app.register(async inner => { await inner.register(sse) })
  },
  'the grant is in config': async app => { await app.register(sse); plain(app, { config: { grant: true } }) },
  'the grant is not a boolean': async app => { await app.register(sse); plain(app, { grant: 'yes' }) },
  'the route is a POST route': async app => { await app.register(sse); app.post('/private', { grant: true }, () => 'published') },
  'the route streams': async app => {
    await app.register(sse)
    app.get('/private', { grant: true }, (request, reply) => reply.sse('secret'))
  },
  'the route is a HEAD route': async app => {
    await app.register(sse)
    app.head('/private', { grant: true }, () => '')
  },
  'the route has several methods': async app => {
    await app.register(sse)
    app.route({ method: ['PUT', 'DELETE'], url: '/private', grant: true, handler: () => 'done' })
  },
  'a third-party plugin adds the route': async app => {
    await app.register(sse)
    const other: FastifyPluginAsync = async inner => plain(inner)
    app.register(other, { prefix: '/other' })
    await app.register(auth, jwt)
    await app.register(async inner => { await inner.register(async deep => plain(deep), { prefix: '/deep' }) })
  },
  'a hook of the app requires the grant': async app => {
    await app.register(sse)
    app.addHook('onRoute', route => { route.grant = true })
    app.get('/private', () => 'secret')
  },
  'a hook of the app removes the guard': async app => {
    await app.register(sse)
    await app.register(auth, jwt)
    app.addHook('onRoute', route => { route.onRequest = async () => {} })
    plain(app)
  }
}

for (const [name, build] of Object.entries(unguarded)) {
  t.test(`the app does not start when ${name}`, async t => {
    const app = newApp(t)
    await t.rejects(async () => {
      await build(app)
      await app.ready()
    }, {
      code: 'FST_SSE_UNGUARDED',
      message: /^route \S+ \S*\/private requires a grant, but its requests are not authenticated: `await app\.register\(auth, …\)` before/
    })
  })
}

// An application that ignores a failed start, or passes requests to the router directly, rejects such requests as well.
t.test('a request to an unguarded route is denied also if the application continued after its failed start', async t => {
  const app = newApp(t)
  await app.register(sse)
  plain(app)
  app.post('/private', { grant: true }, () => 'published')
  app.get('/stream', { grant: true }, (request, reply) => reply.sse('secret'))
  await t.rejects(async () => { await app.ready() })
  const server = app.server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  for (const [method, path] of [
    ['GET', '/private'], ['HEAD', '/private'], ['POST', '/private'], ['GET', '/stream']
  ] as const) {
    const { statusCode, text } = await fetchAll(t, `http://127.0.0.1:${port}${path}`, { method })
    t.equal(statusCode, 500, `${method} ${path}`)
    if (method !== 'HEAD') t.match(text, /FST_SSE_UNGUARDED/)
  }
})

t.test('guarded routes start, wherever they are, and HEAD is guarded like GET', async t => {
  const app = newApp(t)
  await app.register(sse)
  await app.register(auth, jwt)
  plain(app)
  app.get('/open', () => 'open')
  await app.register(async inner => {
    plain(inner)
    inner.get('/', { grant: true }, () => 'both')
  }, { prefix: '/inner' })
  const origin = await listen(app)
  for (const path of ['/private', '/inner/private', '/inner', '/inner/']) {
    for (const method of ['GET', 'HEAD']) {
      t.equal((await fetchAll(t, origin + path, { method })).statusCode, 401, `${method} ${path}`)
      t.equal(
        (await fetchAll(t, origin + path, { method, headers: bearer(await sign()) })).statusCode,
        200,
        `${method} ${path}`
      )
    }
  }
  t.equal((await fetchAll(t, `${origin}/open`)).statusCode, 200)
})

t.test('the option has no effect where this package is not registered', async t => {
  const app = newApp(t)
  plain(app)
  t.equal((await app.inject('/private')).body, 'secret')
})

t.test('a route from before auth that requires no grant responds, but cannot stream', async t => {
  const app = newApp(t)
  await app.register(sse)
  app.get('/plain', () => 'open')
  app.get('/stream', (request, reply) => reply.sse('news'))
  await app.register(auth, jwt)
  t.equal((await app.inject('/plain')).body, 'open')
  t.equal((await app.inject('/nowhere')).statusCode, 404)
  t.match((await app.inject('/stream')).json(), {
    statusCode: 500, code: 'FST_SSE_BAD_OPTION', message: /given on a route added after `await app.register\(auth\)`/
  })
})

// With CommonJS the app may have been created before the package was loaded, and routes with it: whether they asked for
// a grant is unknown.
t.test('in an application that is older than the package, routes from before auth are denied unless they declare that they need no grant', async t => {
  const app = newApp(t)
  delete (app as unknown as Record<symbol, unknown>)[Symbol.for('fastify-resumable-sse.grant-routes')]
  plain(app)
  app.get('/health', { config: { grant: false } }, () => 'fine')
  await app.register(sse)
  app.get('/later', { config: { grant: false } }, () => 'fine')
  await app.register(auth, jwt)
  app.get('/open', () => 'open')
  t.match((await app.inject('/private')).json(), {
    statusCode: 500, code: 'FST_SSE_BAD_OPTION', message: /or false in its config/
  })
  for (const path of ['/health', '/later', '/open']) t.equal((await app.inject(path)).statusCode, 200, path)
  t.equal((await app.inject('/nowhere')).statusCode, 404)
})

// Regression: the hook that spends tokens runs with responses of Fastify. A handler that hijacks the reply has none,
// and its token stayed valid for 30 s.
t.test('a handler that hijacks the reply spends its token, and the second of two concurrent requests is cut off', async t => {
  const app = newApp(t)
  const store = new MemoryTokenStore()
  await app.register(sse)
  await app.register(auth, { ...jwt, oneTimeToken: { store, insecure: true, graceMs: 0 } })
  let isRaced = false
  app.get('/raw', { grant: true }, (request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/plain' })
    reply.raw.write('begun ')
    // The racing response never ends by itself: only a cut ends it, however long that takes.
    if (!isRaced) setTimeout(() => reply.raw.end('whole'), 100)
  })
  const origin = await listen(app)
  const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
  t.match(await fetchAll(t, `${origin}/raw?ot=${token}`), { statusCode: 200, text: 'begun whole' })
  t.equal((await fetchAll(t, `${origin}/raw?ot=${token}`)).statusCode, 401)

  const { token: raced } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
  const redeem = store.redeem.bind(store)
  store.redeem = async (...args) => {
    await redeem(...args)
    return redeem(...args)
  }
  isRaced = true
  await t.rejects(fetchAll(t, `${origin}/raw?ot=${raced}`), 'nothing, or a part of it')
  isRaced = false
  t.equal((await fetchAll(t, `${origin}/raw`, { headers: bearer(await sign()) })).text, 'begun whole')
})

// Regression: a handler that wrote to reply.raw without hijacking bypassed both: Fastify then runs no onSend, and only
// logs that the reply was sent.
t.test('a handler that writes to reply.raw without hijacking spends its token, unless its response is an error', async t => {
  for (const http2 of [false, true]) {
    const app = Fastify({ http2 } as FastifyServerOptions) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(sse)
    await app.register(auth, { ...jwt, oneTimeToken: { store: new MemoryTokenStore(), insecure: true, graceMs: 0 } })
    app.get('/raw', { grant: true }, ({ query }, reply) => {
      const { status = '200' } = query as { status?: string }
      reply.raw.statusCode = Number(status)
      reply.raw.write('written ')
      setImmediate(() => reply.raw.end('raw'))
    })
    const origin = await listen(app)
    const ask = http2
      ? await http2Asker(t, origin)
      : async (path: string) => (await fetchAll(t, origin + path)).statusCode
    const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
    const statuses: unknown[] = []
    for (const status of [409, 200, 200]) statuses.push(await ask(`/raw?ot=${token}&status=${status}`))
    t.same(statuses, [409, 200, 401], `HTTP/${http2 ? 2 : 1}`)
  }
})

async function http2Asker (t: Test, origin: string): Promise<(path: string) => Promise<unknown>> {
  const session = await openSession(t, origin)
  return async path => {
    const { headers, inbox } = await openHttp2(session, path)
    await inbox.ended()
    return headers[':status']
  }
}

// Regression: a POST with `Accept: text/event-stream` got 200 and a retry: only an EventSource must be protected from
// error responses, and it sends GET.
t.test('while a credential cannot be checked, a GET for a stream is asked to retry, and a POST gets 503', async t => {
  const app = newApp(t)
  const verify = async (): Promise<never> => { throw Object.assign(new Error('away'), { statusCode: 503 }) }
  await app.register(sse)
  await app.register(cookie)
  await app.register(auth, { cookie: { name: 'session', signed: false, verify } })
  app.route({ method: ['GET', 'POST'], url: '/stream', grant: true, handler: (request, reply) => reply.sse('a') })
  const url = `${await listen(app)}/stream`
  const headers = { accept: 'text/event-stream', cookie: 'session=s1' }
  t.match(await fetchAll(t, url, { headers }), { statusCode: 200, text: /retry: \d+\n$/ })
  t.match(await fetchAll(t, url, { method: 'POST', headers: { ...headers, 'sec-fetch-site': 'same-origin' } }), {
    statusCode: 503, headers: { 'content-type': /json/ }
  })
})
