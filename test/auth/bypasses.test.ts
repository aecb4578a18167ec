import cookie from '@fastify/cookie'
import t from 'tap'
import { auth, Grant, MemoryTokenStore } from '../../plugin/auth/index.ts'
import type { GrantInit } from '../../plugin/auth/index.ts'
import { isSubject } from '../../plugin/auth/grants/grant-init.ts'
import { buildApp, listen } from '../support/apps/app.ts'
import { ask, listenTo, startAuthApp } from '../support/auth/auth-app.ts'
import { fetchAll } from '../support/clients/client.ts'
import { bearer, SECRET, sign } from '../support/auth/tokens.ts'

const jwt = { secret: SECRET }
const oneTimeToken = (): { store: MemoryTokenStore, insecure: boolean, graceMs: number } =>
  ({ store: new MemoryTokenStore(), insecure: true, graceMs: 0 })

// Regression: `grant: false` together with `config: { grant: true }`, or the other way round, meant no grant at all: an
// app's hook that sets one of them for every route could remove what a route requires through the other.
t.test('a route that requires a grant in its option or in its config is guarded, whatever the other one is', async t => {
  const { origin } = await startAuthApp(t, { jwt }, {
    after: app => {
      app.get('/option', { grant: true, config: { grant: false } }, () => 'secret')
      app.get('/config', { grant: false, config: { grant: true } }, () => 'secret')
      app.get('/neither', { grant: false, config: { grant: false } }, () => 'open')
    }
  })
  for (const path of ['/option', '/config']) {
    t.match(await ask(t, origin + path), { status: 401 }, path)
    t.match(await ask(t, origin + path, bearer(await sign())), { status: 200, text: 'secret' }, path)
  }
  t.match(await ask(t, `${origin}/neither`), { status: 200, text: 'open' })
  const app = await buildApp(t)
  await app.register(auth, { jwt })
  t.throws(() => app.get('/', { grant: false, config: { grant: 'yes' as never } }, () => ''), {
    code: 'FST_SSE_BAD_OPTION'
  })
})

t.test('no method, header or spelling of a path bypasses the guard', async t => {
  const { origin } = await startAuthApp(t, { jwt }, {
    server: { routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false } },
    after: app => {
      app.route({
        method: ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], url: '/change', grant: true, handler: () => 'secret'
      })
      app.all('/any', { grant: true }, () => 'secret')
    }
  })
  const methods = {
    '/change': ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    '/any': ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'],
    '/me': ['GET', 'HEAD']
  }
  for (const [path, each] of Object.entries(methods)) {
    for (const method of each) t.match(await ask(t, origin + path, {}, method), { status: 401 }, `${method} ${path}`)
  }
  for (const path of ['/me/', '//me', '/ME', '/%6de', '/me?x', '/me#x', '/./me', '/any/../me']) {
    t.notMatch(await ask(t, origin + path), { status: 200 }, path)
  }
  for (const header of [
    'x-http-method-override', 'x-http-method', 'x-method-override', 'x-original-url', 'x-rewrite-url'
  ]) {
    for (const value of ['OPTIONS', 'HEAD', '/']) {
      t.match(await ask(t, `${origin}/me`, { [header]: value }), { status: 401 }, `${header}: ${value}`)
    }
  }
})

t.test('a request to upgrade to a WebSocket is authenticated like any other', async t => {
  const { origin } = await startAuthApp(t, { jwt })
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ=='
  }
  t.match(await ask(t, `${origin}/me`, headers), { status: 401 })
})

t.test('a handler of missing paths can stream, but gets no grant', async t => {
  const { origin } = await startAuthApp(t, { jwt }, {
    after: app => { app.setNotFoundHandler((request, reply) => reply.code(404).send({ grant: request.grant })) }
  })
  t.match(await ask(t, `${origin}/nowhere`, bearer(await sign())), { status: 404, json: { grant: null } })
})

// Regression: the hook that spends tokens looked at `request.grant`, which a handler may replace: the token could then
// be used again and again.
t.test('a handler that replaces the grant of a request still spends its token', async t => {
  const { app, origin } = await startAuthApp(t, { oneTimeToken: oneTimeToken() }, {
    after: app => {
      app.get('/replaced', { grant: true }, request => {
        request.grant = new Grant({ subject: 'somebody else' }, 'cookie')
        return 'once'
      })
      app.get('/removed', { grant: true }, request => {
        request.grant = null
        return 'once'
      })
    }
  })
  for (const path of ['/replaced', '/removed']) {
    const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
    t.match(await ask(t, `${origin}${path}?ot=${token}`), { status: 200, text: 'once' }, path)
    t.match(await ask(t, `${origin}${path}?ot=${token}`), { status: 401 }, path)
  }
})

// Regression: TextDecoder drops a byte order mark, so the proxy's subject "\ufeffalice" became alice.
t.test('a byte order mark in the header of a proxy belongs to the subject', async t => {
  const { origin } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'] } })
  const subject = '\ufeffalice'
  t.match(await ask(t, `${origin}/me`, { 'x-user': Buffer.from(subject).toString('latin1') }), {
    status: 200, json: { subject }
  })
})

// Regression: JSON can contain an unpaired surrogate. Written to Redis as UTF-8, all of them become the same character:
// revoking the subject "\ud800" revoked "\ufffd", whose streams continued.
t.test('a subject with half of a surrogate pair, which a store cannot distinguish from others, is rejected', async t => {
  const { origin } = await startAuthApp(t, { jwt })
  for (const sub of ['\ud800', 'alice\udfff', '\udc00\ud800']) {
    t.notOk(isSubject(sub))
    t.match(await ask(t, `${origin}/me`, bearer(await sign({ sub }))), {
      status: 401, json: { message: /^the claim "sub" must have/ }
    })
  }
  t.ok(isSubject('alice 😀'))
})

// Regression: a cookie's grant that was requested again was not compared with the revocations: if `verify` returned an
// earlier sign-in than before, the stream continued while each new request got 401.
t.test('a grant that is requested again and has been revoked meanwhile ends its stream', async t => {
  const now = Date.now()
  let init: GrantInit = { subject: 'alice', issuedAtMs: now + 60_000 }
  const { app, origin } = await startAuthApp(t, {
    cookie: { name: 'sid', signed: false, verify: () => init }, recheckMs: 20
  }, {
    before: async app => { await app.register(cookie) }
  })
  await app.auth.revoke({ subject: 'alice' })
  const { inbox } = await listenTo(t, origin, '/events', { cookie: 'sid=1' })
  await inbox.until('stream.open')
  init = { subject: 'alice', issuedAtMs: now - 60_000 }
  await inbox.ended()
  t.match(await ask(t, `${origin}/me`, { cookie: 'sid=1' }), { status: 401, json: { message: /were revoked/ } })
})

// Regression: the message said "request new ones", to a user who had signed in again and was rejected for a month.
t.test('a sign-in after a revocation whose grant has no time is rejected with a message that says so', async t => {
  const { app, origin } = await startAuthApp(t, {
    jwt: { secret: SECRET },
    cookie: { name: 'sid', signed: false, verify: subject => ({ subject }) },
    proxy: { header: 'x-user', from: ['127.0.0.1'] }
  }, {
    before: async app => { await app.register(cookie) }
  })
  await app.auth.revoke({ subject: 'alice' })
  for (const headers of [{ cookie: 'sid=alice' }, { 'x-user': 'alice' }]) {
    t.match(await ask(t, `${origin}/me`, headers), { status: 401, json: { message: /revoked, .*`verify` .*"issuedAtMs"/ } })
  }
  t.match(await ask(t, `${origin}/me`, bearer(await sign())), {
    status: 401, json: { message: /revoked, .*"iat"/ }
  })
})

// The plugin's own count of cookies and the parser of @fastify/cookie must not see different names.
t.test('a cookie is read from a Cookie header only if exactly one cookie has its name', async t => {
  const seen: string[] = []
  const { app } = await startAuthApp(t, {
    cookie: { name: 'sid', signed: false, verify: value => { seen.push(value); return { subject: 'x' } } }
  }, {
    before: async app => { await app.register(cookie) }
  })
  const parts = [
    'sid', 'sid=', 'a', '=', ';', '; ', ' ', '\t', '"', ',', '\xa0', '%73id=', 'SID=', 'b=sid=', '\\', '__proto__='
  ]
  const wrong: string[] = []
  for (let i = 0; i < 1_000; i++) {
    const header = Array.from(
      { length: 1 + i % 9 },
      (_, j) => parts[(i * 7919 + j * 104_729 + (i >> j)) % parts.length]
    ).join('')
    const { statusCode } = await app.inject({ url: '/me', headers: { cookie: header } })
    const named = header.split(';').map(pair => pair.trim()).filter(pair => /^sid\s*=/.test(pair))
    if (statusCode === 200 ? named.length !== 1 : statusCode !== 401) wrong.push(header)
  }
  t.same(wrong, [])
  t.ok(seen.length > 10, 'some cookies were read')
})

t.test('an invalid credential is not replaced by another one of the same request', async t => {
  const { app, origin } = await startAuthApp(t, {
    jwt,
    oneTimeToken: oneTimeToken(),
    cookie: {
      name: 'sid', signed: false, verify: () => ({ subject: 'bob' })
    },
    proxy: { header: 'x-user', from: ['127.0.0.1'] }
  }, { before: async app => { await app.register(cookie) } })
  const good = { cookie: 'sid=1', 'x-user': 'carol' }
  const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
  for (const authorization of [
    'Bearer', 'Bearer ', 'bearer x.y.z', 'BEARER null', 'Bearer undefined', `Bearer ${await sign()}x`
  ]) {
    t.match(await ask(t, `${origin}/me?ot=${token}`, { ...good, authorization }), { status: 401 }, authorization)
  }
  for (const query of [
    'ot', 'ot=', 'ot=x', `ot=${token}&ot=${token}`, `ot=${token}&%6ft=${token}`, `ot=${token}%20`, `ot=%00${token}`
  ]) {
    t.match(await ask(t, `${origin}/me?${query}`, good), { status: 401 }, query)
  }
  t.match(await ask(t, `${origin}/me`, { ...good, authorization: 'Basic eDp5' }), {
    status: 200, json: { subject: 'bob', source: 'cookie' }
  })
  t.match(await ask(t, `${origin}/me?ot=${token}`, good), { status: 200, json: { subject: 'alice', source: 'token' } })
})

// Regression: Fastify can start the query at a semicolon; the part after it was logged with its token.
t.test('a token after a semicolon is removed from the URL too, if the router treats semicolons as delimiters', async t => {
  const urls: string[] = []
  const app = await buildApp(t, {}, { routerOptions: { useSemicolonDelimiter: true } as object })
  await app.register(auth, { oneTimeToken: oneTimeToken() })
  app.get('/me', { grant: true }, request => {
    urls.push(request.url)
    return 'in'
  })
  const origin = await listen(app)
  for (const mark of [';', '?']) {
    const { token } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
    t.match(await fetchAll(t, `${origin}/me${mark}a=1&ot=${token}`), { statusCode: 200 })
    const { token: first } = await app.auth.issue(new Grant({ subject: 'alice' }, 'bearer'))
    t.match(await fetchAll(t, `${origin}/me${mark}ot=${first}&a=1`), { statusCode: 200 })
  }
  t.same(urls, [';', '?'].flatMap(mark => [`/me${mark}a=1&ot=[redacted]`, `/me${mark}ot=[redacted]&a=1`]))
})
