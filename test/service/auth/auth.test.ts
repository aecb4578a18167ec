import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { runService, startService } from '../../support/processes/commands.ts'
import { open } from '../../support/clients/client.ts'
import { KeySetServer } from '../../support/auth/key-set.ts'
import { call, TestService } from '../../support/service/service-app.ts'
import { bearer, KEYS, SECRET, sign } from '../../support/auth/tokens.ts'

const listener = { topics: { subscribe: ['news'] } }
const publisher = { topics: { publish: ['news'] } }

t.test('each call requires the corresponding right', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const [listen, publish] = await Promise.all([sign(listener), sign(publisher)])
  const codes = async (token: string | undefined): Promise<number[]> => {
    const headers: Record<string, string> = token === undefined ? {} : bearer(token)
    const calls = [['HEAD', '/events?topic=news'], ['POST', '/topics/news/events'], ['GET', '/topics/news'], [
      'POST', '/topics/news/close'
    ], ['DELETE', '/topics/news']] as const
    const answers = calls.map(async ([method, path]) => (await service.call(path, {
      method, headers, ...(path.endsWith('/events') ? { body: { data: 1 } } : {})
    })).status)
    return Promise.all(answers)
  }
  t.same(await codes(undefined), [401, 401, 401, 401, 401])
  t.same(await codes(listen), [200, 403, 200, 403, 403])
  t.same((await codes(publish)).map(code => code < 300), [false, true, true, true, true])
})

t.test('a token is restricted to its topics', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const headers = bearer(await sign({ topics: { subscribe: ['a.*'], publish: ['b.*'] } }))
  t.match(await service.publish('a.1', { data: 1 }, { headers }), {
    status: 403, json: { code: 'FST_SSE_FORBIDDEN', message: 'not allowed to publish to topic "a.1"' }
  })
  t.match(await service.publish('b.1', { data: 1 }, { headers }), { status: 201 })
  t.match(await service.call('/topics/c', { headers }), { status: 403 })
  t.match(await service.call('/events?topic=a.1&topic=b.1', { headers }), {
    status: 403, json: { message: 'not allowed to subscribe to topic "b.1"' }
  })
})

// Regression: that call spent the token, and the stream it was issued for was rejected for 10 s because the token was
// already in use.
t.test('a one-time token is for the stream: any other call is rejected, and does not spend it', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const headers = bearer(await sign())
  const { token } = (await service.call('/events/auth', { method: 'POST', headers })).json as { token: string }
  for (const path of ['/topics/news', '/topics/news/events', '/topics', '/streams', '/events/auth']) {
    const method = path === '/events/auth' ? 'POST' : 'GET'
    const answer = await service.call(`${path}?ot=${token}`, { method })
    t.match(answer, { status: 401, json: { code: 'SERVICE_TOKEN_FOR_STREAM', message: /is for GET \/events/ } }, path)
    t.equal(answer.headers.get('www-authenticate'), 'Bearer')
  }
  t.equal((await service.call(`/topics/news?ot=${token}`, { headers })).status, 200, 'other credentials have precedence')
  t.equal((await service.call(`/healthz?ot=${token}`)).status, 200)
  t.equal((await service.call(`/nowhere?ot=${token}`)).status, 404)
  t.equal((await open(t, `${service.origin}/events?topic=news&ot=${token}`)).statusCode, 200)
})

t.test('during a rolling change of the secret each instance accepts the tokens of both', async t => {
  const next = randomBytes(32).toString('hex')
  const tokens = [await sign(listener), await sign(listener, { key: Buffer.from(next) })]
  const steps = [
    { JWT_SECRET: SECRET, JWT_SECRET_PREVIOUS: next },
    { JWT_SECRET: next, JWT_SECRET_PREVIOUS: SECRET },
    { JWT_SECRET: next }
  ]
  const statuses = await Promise.all(steps.map(async env => {
    const service = await TestService.start(t, env)
    return Promise.all(
      tokens.map(async token => (await service.call('/topics/news', { headers: bearer(token) })).status)
    )
  }))
  t.same(statuses, [[200, 200], [200, 200], [401, 200]])
})

t.test('public resources need no credentials', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  for (const path of ['/healthz', '/openapi.json', '/console', '/console/console.js']) {
    t.equal((await service.call(path)).status, 200, path)
  }
  t.match(await service.call('/events', { method: 'OPTIONS' }), { status: 204 })
})

t.test('a public key in a file is accepted, with issuer, audiences and a claim of another name', async t => {
  const file = join(t.testdir({ 'key.pem': KEYS.EdDSA.pem }), 'key.pem')
  const service = await TestService.start(t, {
    JWT_PUBLIC_KEY: file,
    JWT_ALGORITHM: 'EdDSA',
    JWT_ISSUER: 'https://id.example',
    JWT_AUDIENCE: 'listen',
    JWT_PUBLISH_AUDIENCE: 'publish',
    JWT_CLAIM: 'rights'
  })
  const token = (aud: string, iss = 'https://id.example'): Promise<string> => sign(
    { topics: undefined, rights: { subscribe: ['*'], publish: ['*'] }, aud, iss },
    { key: KEYS.EdDSA.privateKey, alg: 'EdDSA' }
  )
  const publish = async (aud: string, iss?: string): Promise<number> =>
    (await service.publish('news', { data: 1 }, { headers: bearer(await token(aud, iss)) })).status
  t.equal(await publish('publish'), 201)
  t.equal(await publish('listen'), 403)
  t.equal(await publish('elsewhere'), 401)
  t.equal(await publish('publish', 'https://other.example'), 401)
})

t.test('keys are fetched from a URL, and one-time tokens are kept in Redis, which may be unavailable', async t => {
  const issuer = await KeySetServer.start(t)
  issuer.keys = [{ kid: 'a', key: KEYS.ES256.publicKey, alg: 'ES256' }]
  const service = await TestService.start(t, { JWKS_URL: issuer.url, LOG: 'redis', REDIS_URL: 'redis://127.0.0.1:1' })
  const headers = bearer(await sign(listener, { key: KEYS.ES256.privateKey, alg: 'ES256', header: { kid: 'a' } }))
  t.match(await service.call('/events/auth', { method: 'POST', body: {}, headers }), {
    status: 503, json: { code: 'FST_SSE_STORE_UNAVAILABLE' }
  })
  t.match(await service.call('/topics/news', { headers: bearer(await sign(listener)) }), { status: 401 })
})

t.test('a token in a cookie, and a subject named by a proxy, are accepted', async t => {
  const cookies = await TestService.start(t, { JWT_SECRET: SECRET, COOKIE_NAME: 'session', JWT_AUDIENCE: 'events' })
  const cookie = `session=${await sign({ ...publisher, aud: 'events' })}`
  t.equal((await cookies.publish('news', { data: 1 }, { headers: { cookie } })).status, 201)
  t.equal(
    (await cookies.publish('news', { data: 1 }, { headers: { cookie, 'sec-fetch-site': 'cross-site' } })).status,
    403
  )
  const proxied = await TestService.start(t, { PROXY_HEADER: 'X-User', PROXY_FROM: '127.0.0.0/8' })
  t.equal((await proxied.publish('news', { data: 1 }, { headers: { 'x-user': 'alice' } })).status, 201)
  t.equal((await proxied.publish('news', { data: 1 })).status, 401)
})

t.test('pages of the origins that CORS allows may use cookies, other pages may not; * allows no cookies', async t => {
  const cookie = `session=${await sign(publisher)}`
  const publish = async (env: Record<string, string>, origin: string): Promise<unknown> => {
    const service = await TestService.start(t, { JWT_SECRET: SECRET, COOKIE_NAME: 'session', ...env })
    const { status, headers } = await service.publish('news', { data: 1 }, { headers: { cookie, origin } })
    return [status, headers.get('access-control-allow-origin')]
  }
  t.same(await publish({ CORS_ORIGINS: 'https://app.example' }, 'https://app.example'), [201, 'https://app.example'])
  t.same(await publish({ CORS_ORIGINS: 'https://app.example' }, 'https://evil.example'), [403, null])
  t.same(await publish({ CORS_ORIGINS: '*' }, 'https://app.example'), [403, '*'])
})

// DNS rebinding: a page of evil.example makes its own name resolve to 127.0.0.1, and is then of the same origin as the
// service.
t.test('without credentials only loopback names are served, so that no page of another site reaches the service by its own name', async t => {
  const service = await TestService.start(t)
  const status = async (host: string): Promise<number> =>
    (await open(t, `${service.origin}/topics/news`, { headers: { host } })).statusCode
  for (const host of ['localhost', 'localhost:8080', '127.0.0.1:1', '[::1]:8080', 'LOCALHOST']) {
    t.equal(await status(host), 200, host)
  }
  for (const host of [
    'evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:8080', 'evil.example:localhost'
  ]) t.equal(await status(host), 421, host)
  const { statusCode } = await open(t, `${service.origin}/healthz`, { headers: { host: '10.0.0.1' } })
  t.equal(statusCode, 200, 'health checks use an IP address')
})

t.test('ALLOWED_HOSTS lists the hosts that are served', async t => {
  const service = await TestService.start(t, { ALLOWED_HOSTS: 'events.example' })
  const status = async (host: string): Promise<number> =>
    (await open(t, `${service.origin}/topics/news`, { headers: { host } })).statusCode
  t.equal(await status('events.example:443'), 200)
  t.equal(await status('localhost'), 421)
})

// Slow loris: a client that sends its request one byte at a time holds a connection for as long as it likes.
// slow-requests.test.ts tests how these limits are enforced, and test/reply/response/http.test.ts that a stream
// outlives them.
t.test('the time to receive the head and the body of a request is limited', async t => {
  const { server } = (await TestService.start(t)).app
  t.ok(server.headersTimeout > 0 && server.headersTimeout <= server.requestTimeout && server.requestTimeout <= 300_000)
})

t.test('if it requires credentials, it listens beyond loopback without a warning', async t => {
  const { service, origin } = await startService(t, { HOST: '127.0.0.2', LOG: 'memory', JWT_SECRET: SECRET })
  t.notMatch(service.out, /OPEN_TO_ALL/)
  t.match(await call(`${origin}/topics/news`), { status: 401 })
})

t.test('open access to all is reported once, with the variables to set', async t => {
  const { service } = await startService(t, { LOG: 'memory', OPEN_TO_ALL: 'yes' })
  t.match(service.out.match(/OPEN_TO_ALL=yes: .* set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER/g), {
    length: 1
  })
})

t.test('an invalid configuration fails the start, and no secret is shown', async t => {
  const folder = t.testdir({ 'key.pem': 'no key' })
  const service = runService(t, {
    DATA_DIR: folder, JWT_SECRET: 'a short secret', JWT_PUBLIC_KEY: join(folder, 'key.pem'), JWT_ALGORITHM: 'RS256'
  })
  t.equal(await service.exit(), 1)
  t.match(service.err, /JWT_SECRET must be a random string of at least 32 bytes, saw "\*\*\*"/)
  t.match(service.err, /JWT_PUBLIC_KEY must hold a public key for RS256, saw something that cannot be read as a key/)
  t.notMatch(service.err, /a short secret/)
})
