import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { OpenedStream } from '../../../plugin/index.ts'
import type { TopicSource } from '../../../plugin/topics/index.ts'
import { auth, Grant, MemoryTokenStore } from '../../../plugin/auth/index.ts'
import type { AuthOptions, GrantInit } from '../../../plugin/auth/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { ask, listenTo, startAuthApp } from '../../support/auth/auth-app.ts'
import type { AuthApp, Headers } from '../../support/auth/auth-app.ts'
import { connect, fetchAll } from '../../support/clients/client.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

const sessions: Record<string, GrantInit> = {
  s1: { subject: 'alice', subscribe: ['news'] }, s2: { subject: 'bob', expiresAtMs: 1 }
}
const verify = (value: string): GrantInit | null => sessions[value] ?? null
const withCookies = async (app: FastifyInstance): Promise<void> => { await app.register(cookie, { secret: SECRET }) }

interface CookieApp extends AuthApp { signed: (value: string) => string }

async function startCookieApp (t: Test, options: Partial<AuthOptions> = {}): Promise<CookieApp> {
  const started = await startAuthApp(t, { cookie: { name: 'session', verify }, ...options }, { before: withCookies })
  return { ...started, signed: value => `session=${encodeURIComponent(started.app.signCookie(value))}` }
}

t.test('a signed session cookie is accepted, and the application looks up its subject', async t => {
  const { origin, signed } = await startCookieApp(t)
  t.match(await ask(t, `${origin}/me`, { cookie: `other=1; ${signed('s1')}` }), {
    status: 200, json: { subject: 'alice', source: 'cookie', subscribe: ['news'] }
  })
  t.match(await ask(t, `${origin}/me`, { cookie: signed('gone') }), {
    status: 401, json: { message: 'the session is not valid any more: sign in again' }
  })
  t.match(await ask(t, `${origin}/me`, { cookie: signed('s2') }), { status: 401, json: { message: /have expired/ } })
  t.match(await ask(t, `${origin}/me`, { cookie: 'other=1' }), {
    status: 401, json: { message: 'no credentials: send the session cookie' }
  })
})

t.test('a cookie that is not signed, or was changed, is rejected', async t => {
  const { origin, signed } = await startCookieApp(t)
  for (const value of ['session=s1', `${signed('s1')}x`, signed('s1').replace('s1', 's2'), 'session=', 'session=s1.']) {
    t.match(await ask(t, `${origin}/me`, { cookie: value }), {
      status: 401, json: { message: 'the cookie "session" is not signed by this server: sign in again' }
    })
  }
})

// Cookie tossing: evil.app.example may set a cookie for app.example, and the browser sends both.
t.test('a duplicate cookie, of which a neighbouring subdomain may have set one, is rejected', async t => {
  const { origin, signed } = await startCookieApp(t)
  for (const cookie of [
    `${signed('s1')}; ${signed('s1')}`, `session=evil; ${signed('s1')}`, `${signed('s1')};session=`
  ]) {
    t.match(await ask(t, `${origin}/me`, { cookie }), {
      status: 401, json: { message: /the cookie "session" was sent twice/ }
    })
  }
})

t.test('an unsigned cookie, and a JWT in a cookie, are accepted where the options say so', async t => {
  const plain = await startAuthApp(t, { cookie: { name: 'session', signed: false, verify } }, {
    before: async app => { await app.register(cookie) }
  })
  t.match(await ask(t, `${plain.origin}/me`, { cookie: 'session=s1' }), { status: 200 })
  const tokens = await startAuthApp(t, { jwt: { secret: SECRET }, cookie: { name: 'session', jwt: true } }, {
    before: async app => { await app.register(cookie) }
  })
  t.match(await ask(t, `${tokens.origin}/me`, { cookie: `session=${await sign()}` }), {
    status: 200, json: { source: 'cookie' }
  })
  t.match(await ask(t, `${tokens.origin}/me`, { cookie: 'session=s1' }), {
    status: 401, json: { message: /not a signed JSON/ }
  })
})

t.test('a cookie that the application rotates is sent with the stream', async t => {
  const { app, origin, signed } = await startCookieApp(t)
  await app.close()
  const rotating = await buildApp(t)
  await withCookies(rotating)
  await rotating.register(auth, { cookie: { name: 'session', verify } })
  rotating.get('/', { grant: true }, (request, reply) => {
    reply.setCookie('session', 's1', { signed: true, httpOnly: true })
    return reply.sse({ data: request.grant?.subject })
  })
  const { headers, text } = await ask(t, await listen(rotating), { cookie: signed('s1') })
  t.match(headers['set-cookie'], [/^session=s1\..*HttpOnly/])
  t.match(text, 'data: alice')
  t.ok(origin)
})

t.test('an exception in verify is an error of the application, and its result must be a grant', async t => {
  const answers: unknown[] = [
    7,
    {},
    { subject: 'a', subscibe: ['b'] },
    { subject: 'a', subscribe: 'b' },
    { subject: 'a', publish: ['b c'] },
    { subject: 'a', expiresAtMs: '1' },
    { subject: 'a', issuedAtMs: -1 },
    { subject: 'a', revoke: 1 }
  ]
  for (const answer of answers) {
    const { origin, signed } = await startCookieApp(t, { cookie: { name: 'session', verify: () => answer as null } })
    t.match(await ask(t, `${origin}/me`, { cookie: signed('s1') }), {
      status: 500, json: { code: 'FST_SSE_BAD_GRANT', message: /^cookie.verify: .* must be .*, saw / }
    })
  }
  const { origin, signed } = await startCookieApp(t, {
    cookie: {
      name: 'session',
      verify: async () => { throw Object.assign(new Error('the database is away'), { statusCode: 503 }) }
    }
  })
  const headers = { cookie: signed('s1'), accept: 'text/event-stream' }
  t.match(await ask(t, `${origin}/me`, { cookie: signed('s1') }), { status: 503 })
  const told = await ask(t, `${origin}/events`, headers)
  t.match(told, { status: 200, text: /^:\nretry: \d+\n$/ }, 'EventSource is asked to retry later')
  t.match(await ask(t, `${origin}/events`, headers, 'HEAD'), { status: 503 })
})

// A page of another site makes the browser send the cookie; EventSource needs no preflight, so the request arrives.
t.test('a page of another site is rejected', async t => {
  const { app, origin, signed } = await startCookieApp(t, { origins: ['https://app.example'] })
  const own = origin
  const cookie = signed('s1')
  const refused: Headers[] = [
    { origin: 'https://evil.example' }, { origin: 'null' }, {
      origin: 'https://app.example.evil.example'
    }, { origin: 'http://app.example' },
    { origin: own.replace('127.0.0.1', 'localhost') }, { origin: own.replace(/\d+$/, '1') },
    { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, {
      'sec-fetch-site': 'cross-site', origin: 'https://evil.example'
    },
    { 'sec-fetch-site': 'cross-site', origin: own }, { 'sec-purpose': 'prefetch' }, {
      'sec-purpose': 'prefetch;prerender', 'sec-fetch-site': 'same-origin'
    }
  ]
  for (const headers of refused) {
    t.match(await ask(t, `${own}/events`, { cookie, ...headers }), {
      status: 403, json: { code: 'FST_SSE_BAD_ORIGIN' }
    }, JSON.stringify(headers))
  }
  const allowed: Headers[] = [
    {}, { origin: own }, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }, {
      'sec-fetch-site': 'same-origin', origin: own
    },
    { 'sec-fetch-site': 'cross-site', origin: 'https://app.example' }
  ]
  for (const headers of allowed) {
    t.match(await ask(t, `${own}/me`, { cookie, ...headers }), { status: 200 }, JSON.stringify(headers))
  }
  await app.close()
})

t.test('if the server terminates TLS, the scheme of a page counts too', async t => {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(auth, { proxy: { header: 'x-user', from: ['127.0.0.1'] } })
  app.get('/', { grant: true }, () => 'ok')
  const origin = await listen(app)
  const behind = { 'x-user': 'a', 'x-forwarded-host': 'app.example', 'x-forwarded-proto': 'https' }
  t.equal((await ask(t, origin, { ...behind, origin: 'https://app.example' })).status, 200)
  t.equal((await ask(t, origin, { ...behind, origin: 'http://app.example' })).status, 403)
  t.equal((await ask(t, origin, { ...behind, 'x-forwarded-host': 'a b', origin: 'https://app.example' })).status, 403)
})

t.test('a credential that the client must add itself needs no origin', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  t.equal((await ask(t, `${origin}/me`, {
    ...bearer(await sign()), origin: 'https://evil.example', 'sec-fetch-site': 'cross-site'
  })).status, 200)
})

// A one-time token in an image, a link or a frame would be spent by whichever browser displays it.
t.test('a one-time token used by anything other than a script, or by a page of another site, is rejected', async t => {
  const { app, origin } = await startAuthApp(t, {
    oneTimeToken: { store: new MemoryTokenStore() }, origins: ['https://app.example']
  })
  const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'cookie'))
  const refused: Headers[] = [
    { 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' }, { 'sec-fetch-dest': 'image' }, {
      'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'same-origin'
    },
    { 'sec-purpose': 'prefetch' }, {
      'sec-fetch-dest': 'empty', 'sec-fetch-site': 'cross-site', origin: 'https://evil.example'
    }, { 'sec-fetch-site': 'cross-site' }
  ]
  for (const headers of refused) {
    t.match(await ask(t, `${origin}/events?ot=${token}`, headers), {
      status: 403, json: { code: 'FST_SSE_BAD_ORIGIN' }
    }, JSON.stringify(headers))
  }
  t.match(await ask(t, `${origin}/me?ot=${token}`, {}, 'POST'), { status: 404 })
  const { statusCode } = await listenTo(t, origin, `/events?ot=${token}`, {
    'sec-fetch-dest': 'empty', 'sec-fetch-site': 'cross-site', origin: 'https://app.example'
  })
  t.equal(statusCode, 200, 'rejected requests did not spend it')
})

t.test('a one-time token is accepted for GET only', async t => {
  const app = await buildApp(t)
  await app.register(auth, { oneTimeToken: { store: new MemoryTokenStore() } })
  app.post('/', { grant: true }, () => 'done')
  const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'cookie'))
  t.match(await ask(t, `${await listen(app)}/?ot=${token}`, {}, 'POST'), {
    status: 401, json: { message: /is for GET/ }
  })
})

t.test('Host values that are not listed are rejected', async t => {
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET }, hosts: ['App.example', '[::1]:8080'] })
  const headers = bearer(await sign())
  for (const host of ['app.example', 'APP.example:8443', '[::1]:8080']) {
    t.equal((await ask(t, `${origin}/me`, { ...headers, host })).status, 200, host)
  }
  for (const host of ['evil.example', 'app.example.evil.example', '[::1]', '[::1]:81']) {
    t.match(await ask(t, `${origin}/me`, { ...headers, host }), {
      status: 421, json: { code: 'FST_SSE_BAD_HOST' }
    }, host)
  }
  const { statusCode } = await app.inject({ url: '/me', headers: { ...headers, host: 'evil.example' } })
  t.equal(statusCode, 421)
})

/** The bytes as sent: Node writes headers as latin1. */
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

t.test('a header set by a proxy counts only from the proxy\'s address, whatever X-Forwarded-For says', async t => {
  const server = { trustProxy: true }
  const start = (from: string[], options: object = {}): Promise<AuthApp> =>
    startAuthApp(t, { proxy: { header: 'X-User', from, ...options } }, { server })
  for (const from of [['127.0.0.1'], ['10.0.0.0/8', '127.0.0.0/8'], ['::ffff:127.0.0.1']]) {
    const { origin } = await start(from, { subscribe: ['a'], publish: [] })
    t.match(await ask(t, `${origin}/me`, { 'x-user': utf8('jürgen') }), {
      status: 200, json: { subject: 'jürgen', source: 'proxy', subscribe: ['a'], publish: [] }
    }, String(from))
    // Regression: Latin-1 was decoded with a replacement character, so josé and josè were the same subject.
    for (const subject of ['jos\xe9', 'jos\xe8', '\xc3']) {
      t.match(await ask(t, `${origin}/me`, { 'x-user': subject }), { status: 401, json: { message: /is not UTF-8/ } })
    }
    t.match(await ask(t, `${origin}/me`, { 'x-user': ['a', 'b'] }), {
      status: 401, json: { message: 'the header x-user was sent twice: send it once' }
    })
    t.match(await ask(t, `${origin}/me`, { 'x-user': '' }), { status: 401 })
  }
  const { origin } = await start(['10.0.0.0/8', '::1', '127.0.0.2'])
  for (const spoof of [
    {}, { 'x-forwarded-for': '10.0.0.1' }, { forwarded: 'for=10.0.0.1' }, { 'x-real-ip': '10.0.0.1' }
  ]) {
    t.match(await ask(t, `${origin}/me`, { 'x-user': 'root', ...spoof }), {
      status: 401, json: { message: /^no credentials: send the request through the proxy/ }
    })
  }
})

t.test('a proxy over IPv6 is matched by its range, and one over a Unix socket, which has no address, is rejected', async t => {
  const { app } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['fd00::/8', '127.0.0.1'] } })
  const status = async (remoteAddress: string): Promise<number> =>
    (await app.inject({ url: '/me', headers: { 'x-user': 'alice' }, remoteAddress })).statusCode
  t.equal(await status('fd00::7'), 200)
  t.equal(await status('::ffff:127.0.0.1'), 200)
  t.equal(await status('fe80::7'), 401)
  const local = await buildApp(t)
  await local.register(auth, { proxy: { header: 'x-user', from: ['127.0.0.1', '::/0'] } })
  local.get('/', { grant: true }, () => 'in')
  // Not below the test's own folder: the path of a socket has 107 bytes at most.
  const folder = await mkdtemp(join(tmpdir(), 'sse-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'app.sock')
  await local.listen({ path })
  t.match(await fetchAll(t, 'http://localhost/', { socketPath: path, headers: { 'x-user': 'alice' } }), {
    statusCode: 401
  })
})

t.test('a source of the application with its own topics is restricted by the grant too', async t => {
  const app = await buildApp(t)
  await app.register(auth, { proxy: { header: 'x-user', from: ['127.0.0.1'], subscribe: ['news'] } })
  app.get<{ Params: { topic: string } }>('/:topic', { grant: true }, (request, reply) => reply.sse({
    topics: request.params.topic, open: stream => () => { stream.push({ data: 'here' }) }
  }))
  const headers = { 'x-user': 'alice' }
  t.match(await app.inject({ url: '/news', headers }), { statusCode: 200, body: /data: here/ })
  t.match(await app.inject({ url: '/secret', headers }), { statusCode: 403 })
})

// Regression: topics were found by inspecting the object: a subscription that was wrapped in another object, or
// returned by a function, had none.
t.test('a subscription is restricted by the grant however it is wrapped', async t => {
  const wraps: Record<string, (source: TopicSource) => unknown> = {
    bare: source => source,
    function: source => () => source,
    async: source => async () => source,
    opened: source => ({ open: (stream: OpenedStream) => source.open(stream) }),
    twice: source => async () => ({ open: (stream: OpenedStream) => source.open(stream) }),
    spread: source => ({ ...source, open: source.open.bind(source) })
  }
  const { origin } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'], subscribe: ['news'] } }, {
    after: app => app.get<{ Params: { wrap: string, topic: string } }>('/wrapped/:wrap/:topic', {
      grant: true
    }, (request, reply) => {
      return reply.sse(wraps[request.params.wrap]!(app.topics.subscribe(request.params.topic)) as TopicSource)
    })
  })
  const headers = { 'x-user': 'alice', accept: 'text/event-stream' }
  for (const wrap of Object.keys(wraps)) {
    t.match(await ask(t, `${origin}/wrapped/${wrap}/secret`, headers), {
      status: 403, json: { code: 'FST_SSE_FORBIDDEN' }
    }, wrap)
    const { statusCode, inbox, close } = await listenTo(t, origin, `/wrapped/${wrap}/news`, headers)
    t.equal(statusCode, 200, wrap)
    await inbox.until('stream.open')
    close()
  }
})

t.test('a client of HTTP/1.0, which sends no Host header, is accepted', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET }, hosts: ['app.example'] })
  const { send, inbox } = await connect(t, origin)
  send(`GET /me HTTP/1.0\r\nAuthorization: Bearer ${await sign()}\r\n\r\n`)
  t.match(await inbox.ended(), /^HTTP\/1\.1 200 /)
})

t.test('the application can decide what a subject of the proxy may do', async t => {
  const { origin } = await startAuthApp(t, {
    proxy: {
      header: 'x-user',
      from: ['127.0.0.1'],
      verify: subject => subject === 'alice' ? { subject, subscribe: ['b'] } : null
    }
  })
  t.match(await ask(t, `${origin}/me`, { 'x-user': 'alice' }), { status: 200, json: { subscribe: ['b'] } })
  t.match(await ask(t, `${origin}/me`, { 'x-user': 'mallory' }), {
    status: 401, json: { message: /the user named by the proxy has no access/ }
  })
})

t.test('the first source that is present counts, and none is tried after an invalid one', async t => {
  const { app, origin, signed } = await startCookieApp(t, {
    jwt: { secret: SECRET },
    oneTimeToken: { store: new MemoryTokenStore() },
    proxy: { header: 'x-user', from: ['127.0.0.1'] }
  })
  const { token } = await app.auth.issue(new Grant({ subject: 'token' }, 'cookie'))
  const all = { ...bearer(await sign({ sub: 'bearer' })), cookie: signed('s1'), 'x-user': 'proxy' }
  const { cookie, 'x-user': user } = all
  const proxied = { 'x-user': user }
  const subject = async (path: string, headers: Headers): Promise<unknown> => {
    const { status, json } = await ask(t, origin + path, headers)
    return status === 200 ? json.subject : status
  }
  t.equal(await subject('/me?ot=x', all), 'bearer')
  t.equal(await subject('/me?ot=x', { cookie, ...proxied }), 401)
  t.equal(await subject(`/me?ot=${token}&ot=${token}`, { cookie }), 401)
  t.equal(await subject(`/me?ot=${token}`, { cookie, ...proxied }), 'token')
  t.equal(await subject('/me', { cookie, ...proxied }), 'alice')
  t.equal(await subject('/me', proxied), 'proxy')
  t.equal(await subject('/me', { ...all, authorization: 'Bearer x' }), 401)
  t.equal(await subject('/me', { ...proxied, cookie: 'session=x' }), 401)
})

t.test('error responses have CORS headers, so that a page can read them', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET }, origins: ['https://app.example'] }, {
    before: async app => { await app.register(cors, { origin: ['https://app.example'], credentials: true }) }
  })
  const { status, headers } = await ask(t, `${origin}/events`, { origin: 'https://app.example' })
  t.match({ status, headers }, {
    status: 401,
    headers: { 'access-control-allow-origin': 'https://app.example', 'access-control-allow-credentials': 'true' }
  })
})

t.test('a route without the option requires nothing, and has no grant', async t => {
  const app = await buildApp(t)
  await app.register(auth, { jwt: { secret: SECRET } })
  app.get('/open', request => ({ grant: request.grant }))
  app.get('/config', { config: { grant: true } }, () => 'in')
  t.throws(() => app.get('/bad', { config: { grant: 'yes' as unknown as true } }, () => ''), {
    code: 'FST_SSE_BAD_OPTION', message: 'route GET /bad: option "grant" must be true or false, saw "yes"'
  })
  t.match(await app.inject('/open'), { statusCode: 200, body: '{"grant":null}' })
  t.match(await app.inject('/config'), { statusCode: 401 })
})

t.test('it requires the plugin of the streams', async t => {
  await t.rejects(async () => {
    await Fastify().register(auth, { jwt: { secret: SECRET } })
  }, { message: /fastify-resumable-sse/ })
})

t.test('tokens are issued only if the option is set', async t => {
  const { app } = await startAuthApp(t, { jwt: { secret: SECRET } })
  await t.rejects(app.auth.issue(new Grant({ subject: 'a' }, 'bearer')), { code: 'FST_SSE_BAD_OPTION' })
})
