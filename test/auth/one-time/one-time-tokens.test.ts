import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../../plugin/auth/index.ts'
import { OneTimeTokens } from '../../../plugin/auth/one-time/one-time-tokens.ts'
import { tokenChecks, tokenDefaults } from '../../../plugin/auth/one-time/one-time-token-options.ts'
import { buildApp } from '../../support/apps/app.ts'
import { ask, startAuthApp } from '../../support/auth/auth-app.ts'
import { fetchAll } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'
import { cookiesOf, ELSEWHERE, issueToken, post, redeem, startTokenApp } from '../../support/auth/token-app.ts'
import { bearer, nowS, SECRET, sign } from '../../support/auth/tokens.ts'

t.test('a token is issued for some topics of the grant, and no cache may store it', async t => {
  const { origin } = await startTokenApp(t)
  const { status, headers, json } = await post(t, `${origin}/events/auth`, { topics: ['news'] }, bearer(await sign()))
  t.match({ status, json }, { status: 200, json: { token: /^[\w-]{43}$/, expiresIn: 30, session: /^[\w-]{43}$/ } })
  t.equal(headers['cache-control'], 'no-store')
  t.same(Object.keys(json), ['token', 'expiresIn', 'session'])
})

t.test('a token without topics covers all topics of the grant, and never allows publishing or revoking', async t => {
  const { origin } = await startTokenApp(t)
  const claims = { topics: { subscribe: ['news', 'user.alice.*'], publish: ['news'], revoke: true } }
  for (const body of ['{}', '']) {
    const { json } = await post(t, `${origin}/events/auth`, body, bearer(await sign(claims)))
    t.match(await ask(t, `${origin}/me?ot=${String(json.token)}`), { json: { source: 'token', subject: 'alice', subscribe: ['news', 'user.alice.*'], publish: [], revoke: false, session: json.session } })
  }
})

t.test('a topic that the grant does not cover is rejected, and so is a pattern that it does not cover entirely', async t => {
  const { origin } = await startTokenApp(t)
  const headers = bearer(await sign({ topics: { subscribe: ['user.alice.*', 'a*b'] } }))
  for (const topic of ['news', '*', 'user.*', 'user.alice', 'a*', '*b', 'a*c']) {
    t.match(await post(t, `${origin}/events/auth`, { topics: ['user.alice.mail', topic] }, headers), { status: 403, json: { code: 'FST_SSE_FORBIDDEN', message: `not allowed to subscribe to topic "${topic}"` } })
  }
  for (const topic of ['user.alice.*', 'user.alice.mail.*', 'a*b', 'ax*b', 'a*x*b']) t.match(await post(t, `${origin}/events/auth`, { topics: [topic] }, headers), { status: 200 }, topic)
})

/** A store that answers late, as Redis may. */
class LateTokenStore extends MemoryTokenStore {
  override async find (...args: Parameters<MemoryTokenStore['find']>): ReturnType<MemoryTokenStore['find']> {
    const found = await super.find(...args)
    await pause(20)
    return found
  }
}

// Regression: the end of the grant was "now plus the time left", with "now" read after the store had answered: a grant
// outlived its JWT by that delay.
t.test('a token lasts no longer than its grant, even when the store responds late', async t => {
  const { origin } = await startTokenApp(t, { store: new LateTokenStore() })
  const exp = nowS() + 600
  const { json } = await post(t, `${origin}/events/auth`, {}, bearer(await sign({ exp })))
  const { json: me } = await ask(t, `${origin}/me?ot=${String(json.token)}`)
  t.equal(me.expiresAtMs, exp * 1000)
})

t.test('a token that would outlive its grant is issued for the rest of the grant', async t => {
  const { origin } = await startTokenApp(t)
  const { json } = await post(t, `${origin}/events/auth`, {}, bearer(await sign({ exp: nowS() + 10 })))
  t.ok(Number(json.expiresIn) > 0 && Number(json.expiresIn) < 10)
})

t.test('an invalid body is rejected with the name of the field, before anything is counted', async t => {
  const { origin } = await startTokenApp(t, { maxPerSubject: 1 })
  const headers = bearer(await sign({ topics: { subscribe: ['*'], revoke: true } }))
  const bad: [unknown, string][] = [
    ['[]', 'body must be a JSON object, saw []'], ['null', 'body must be a JSON object, saw null'], ['7', 'body must be a JSON object, saw 7'],
    [{ topic: 'news' }, 'field must be one of topics, saw "topic"'],
    ...[[], 'news', null, [7], ['a b'], ['x'.repeat(257)], [''], Array.from({ length: 45 }, (_, at) => `t${at}`)].map(topics => [{ topics }, 'field "topics" must be an array of 1 to 44 topics or patterns of topics, saw '] as [unknown, string])
  ]
  for (const [body, message] of bad) {
    const { status, json } = await post(t, `${origin}/events/auth`, body, headers)
    t.match({ status, code: json.code }, { status: 400, code: 'FST_SSE_BAD_BODY' })
    t.ok(String(json.message).startsWith(message), String(json.message))
  }
  const session = 'A'.repeat(43)
  for (const [body, message] of [
    [{}, 'body must be an object with either "subject" or "session", saw {}'],
    [{ subject: 'a', session }, 'body must be an object with either'],
    [{ subject: '' }, 'field "subject" must be a string of 1 to 256 characters, saw ""'], [{ subject: 7 }, 'field "subject"'], [{ subject: 'x'.repeat(257) }, 'field "subject"'],
    [{ session: 'short' }, 'field "session" must be the "session" that came with a token, saw "short"'], [{ session: 7 }, 'field "session"'],
    [{ user: 'a' }, 'field must be one of subject, session, saw "user"']
  ] as const) {
    const { status, json } = await post(t, `${origin}/events/revoke`, body, headers)
    t.equal(status, 400)
    t.ok(String(json.message).startsWith(message), String(json.message))
  }
  t.equal((await post(t, `${origin}/events/auth`, '{', headers)).status, 400)
  t.equal((await post(t, `${origin}/events/auth`, {}, headers)).status, 200)
})

t.test('each subject and each address gets a limited number of tokens per minute', async t => {
  const { origin } = await startTokenApp(t, { maxPerSubject: 2, maxPerAddress: 3 })
  const issue = async (sub: string): Promise<unknown> => post(t, `${origin}/events/auth`, {}, bearer(await sign({ sub })))
  for (let time = 0; time < 2; time++) t.match(await issue('alice'), { status: 200 })
  t.match(await issue('alice'), { status: 429, headers: { 'retry-after': /^\d+$/ }, json: { message: 'too many one-time tokens from this subject: at most 2 in 60 s' } })
  t.match(await issue('bob'), { status: 200 })
  t.match(await issue('cid'), { status: 429, json: { code: 'FST_SSE_TOO_MANY', message: 'too many one-time tokens from this address: at most 3 in 60 s' } })
  const { statusCode } = await fetchAll(t, `${origin}/events/auth`, { method: 'POST', headers: bearer(await sign({ sub: 'dora' })), ...ELSEWHERE })
  t.equal(statusCode, 200)
})

t.test('an app that has @fastify/rate-limit already keeps its own', async t => {
  const { default: rateLimit } = await import('@fastify/rate-limit')
  const { origin } = await startTokenApp(t, {}, {}, {
    before: async app => { await app.register(rateLimit, { global: false }) }
  })
  await issueToken(t, origin)
})

t.test('a one-time token can neither issue tokens nor revoke, and without credentials no token is issued', async t => {
  const { origin } = await startTokenApp(t)
  const claims = { topics: { subscribe: ['*'], revoke: true } }
  for (const path of ['auth', 'revoke']) {
    const { token, session } = await issueToken(t, origin, { claims })
    const body = path === 'auth' ? {} : { session }
    t.match(await post(t, `${origin}/events/${path}?ot=${token}`, body), { status: 401 })
    const stream = await redeem(t, origin, token)
    t.match(await post(t, `${origin}/events/${path}?ot=${token}`, body, { cookie: cookiesOf(stream) }), { status: 401 })
    t.match(await post(t, `${origin}/events/${path}`, body), { status: 401 })
  }
})

t.test('a client that may revoke ends a session or a subject; any other client is rejected', async t => {
  const { origin } = await startTokenApp(t)
  const service = bearer(await sign({ sub: 'service', topics: { revoke: true } }))
  const [one, two] = [await issueToken(t, origin), await issueToken(t, origin)]
  t.match(await post(t, `${origin}/events/revoke`, { session: one.session }, bearer(await sign())), { status: 403, json: { message: `not allowed to revoke "${one.session}"` } })
  t.match(await post(t, `${origin}/events/revoke`, { subject: 'bob' }, bearer(await sign())), { status: 403, json: { message: 'not allowed to revoke "bob"' } })
  const streams = [await redeem(t, origin, one.token), await redeem(t, origin, two.token)] as const
  for (const { inbox } of streams) await inbox.until('stream.open')
  t.match(await post(t, `${origin}/events/revoke`, { session: one.session }, service), { status: 204, text: '' })
  t.notMatch(await streams[0].inbox.ended(), /revoked|expired/, 'nothing is reported in the stream')
  t.notOk(streams[1].inbox.isOver)
  t.match(await post(t, `${origin}/events/revoke`, { subject: 'alice' }, service), { status: 204 })
  await streams[1].inbox.ended()
  for (const [at, { token }] of [one, two].entries()) {
    t.equal((await redeem(t, origin, token, { cookie: cookiesOf(streams[at]!) })).statusCode, 401)
  }
})

/** The attributes of a stream's cookie. */
async function attributesOf (t: Test, origin: string, headers: Record<string, string> = {}): Promise<string> {
  const { token } = await issueToken(t, origin)
  const { headers: { 'set-cookie': lines } } = await redeem(t, origin, token, { headers })
  t.equal(lines?.length, 1)
  return lines![0]!
}

t.test('the cookie is HttpOnly, Secure and for this host only, and lasts as long as the session', async t => {
  const { origin } = await startTokenApp(t, { sessionMaxMs: 60_000 })
  t.match(await attributesOf(t, origin), /^__Host-sse-[\w-]{16}=[0-9a-z]+\.[\w-]{43}; Max-Age=60; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
})

t.test('a page of another site gets a cookie partitioned by its site, a page of the same site a strict one', async t => {
  const { origin } = await startTokenApp(t, {}, { origins: ['https://other.test'] })
  const port = new URL(origin).port
  const strict = /; Secure; SameSite=Strict$/
  const partitioned = /; Secure; SameSite=None; Partitioned$/
  const page = 'https://other.test'
  t.match(await attributesOf(t, origin, { 'sec-fetch-site': 'same-origin' }), strict)
  t.match(await attributesOf(t, origin, { 'sec-fetch-site': 'same-site', origin: page }), strict)
  t.match(await attributesOf(t, origin, { 'sec-fetch-site': 'cross-site', origin: page }), partitioned)
  t.match(await attributesOf(t, origin, { origin: page }), partitioned, 'a browser that does not send Sec-Fetch-Site')
  t.match(await attributesOf(t, origin, { origin: `http://127.0.0.1:${port}` }), strict)
})

t.test('for development over plain HTTP, an option issues the cookie without the attributes that require HTTPS', async t => {
  const { origin } = await startTokenApp(t, { insecure: true })
  t.match(await attributesOf(t, origin), /^sse-[\w-]{16}=[^;]+; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Strict$/)
})

t.test('tabs of one browser have a cookie each; beyond 16 the oldest are removed, broken or discarded ones first', async t => {
  const { origin } = await startTokenApp(t)
  const others = Array.from({ length: 14 }, (_, at) => `__Host-sse-${String(at).padStart(16, '-')}=${(1_000 + at).toString(36)}.${'A'.repeat(43)}`)
  const broken = `__Host-sse-${'b'.repeat(16)}=nonsense`
  const tossed = `__Host-sse-${'t'.repeat(16)}=zzz.${'A'.repeat(43)}`
  const jar = [...others.slice(7), broken, tossed, tossed, ...others.slice(0, 7), 'sid=1', '__Host-sse-short=1']
  const { token } = await issueToken(t, origin)
  const { headers: { 'set-cookie': [own, ...ended] = [] } } = await redeem(t, origin, token, { cookie: jar.join('; ') })
  t.match(own, /^__Host-sse-/)
  t.equal(ended.length, 1, '14 are valid, and with the new one and one invalid there are 16')
  t.match(ended[0], /^__Host-sse-(b{16}|t{16})=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
  const more = [...jar, `__Host-sse-${'o'.repeat(16)}=${(999).toString(36)}.${'A'.repeat(43)}`, `__Host-sse-${'n'.repeat(16)}=${(9_999).toString(36)}.${'A'.repeat(43)}`]
  const { token: another } = await issueToken(t, origin)
  const { headers: { 'set-cookie': [, ...gone] = [] } } = await redeem(t, origin, another, { cookie: more.join('; ') })
  t.same(gone.map(line => line.split('=')[0]!.slice('__Host-sse-'.length, '__Host-sse-'.length + 1)).sort(), ['b', 'o', 't'])
})

/** Repeats a request until its stream starts. */
async function repeat (t: Test, origin: string, token: string): Promise<Opened> {
  let repeated: Opened | undefined
  await until(async () => {
    repeated = await redeem(t, origin, token)
    t.equal(repeated.statusCode, 200)
    return cookiesOf(repeated) !== ''
  })
  return repeated!
}

// Firefox repeats a GET up to ten times within 10 ms if the connection breaks during the request.
t.test('a request that the browser repeats is one session with one stream, and each of its cookies resumes it', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const repeats: Opened[] = []
  for (let time = 0; time < 10; time++) {
    repeats.push(await repeat(t, origin, token))
    repeats.at(-1)!.close()
  }
  for (const repeat of repeats) {
    t.equal((await redeem(t, origin, token, { cookie: cookiesOf(repeat), ...ELSEWHERE })).statusCode, 200)
  }
})

// Regression: somebody who read the URL within the grace period, at the same address and with the same headers, got the
// whole session, and ended the stream of the token's owner.
t.test('while the stream of a token is open nobody takes its place, and a client that repeats the request is asked to retry later', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const all = await Promise.all(Array.from({ length: 10 }, () => redeem(t, origin, token)))
  t.ok(all.every(({ statusCode }) => statusCode === 200))
  const [first, ...rest] = all.sort((a, b) => cookiesOf(b).length - cookiesOf(a).length)
  await first!.inbox.until('stream.open')
  for (const { headers, inbox } of [...rest, await redeem(t, origin, token)]) {
    t.match(await inbox.ended(), /retry: \d+\n+$/)
    t.equal(headers['set-cookie'], undefined)
  }
  t.notOk(first!.inbox.isOver)
})

t.test('a client that resumes a session supersedes its older stream, and gets no further cookie', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const first = await redeem(t, origin, token)
  await first.inbox.until('stream.open')
  const second = await redeem(t, origin, token, { cookie: cookiesOf(first), ...ELSEWHERE })
  t.equal(second.headers['set-cookie'], undefined)
  await first.inbox.ended()
  await second.inbox.until('stream.open')
  t.notOk(second.inbox.isOver)
})

t.test('a session that has ended ends its stream, and later requests get 401', async t => {
  const { origin } = await startTokenApp(t, { sessionMaxMs: 300 })
  const { token } = await issueToken(t, origin)
  const stream = await redeem(t, origin, token)
  t.match(await stream.inbox.ended(), /event: stream\.expired/)
  // The session began when its token was spent, shortly after the end of the stream was set.
  await until(async () => (await redeem(t, origin, token, { cookie: cookiesOf(stream) })).statusCode === 401)
})

t.test('an open stream keeps its session alive; without one it ends', async t => {
  let passedMs = 0
  let touches = 0
  const store = new MemoryTokenStore({ now: () => Date.now() + passedMs })
  const touch = store.touch.bind(store)
  store.touch = async (...args) => {
    touches++
    return touch(...args)
  }
  const { origin } = await startTokenApp(t, { store, sessionIdleMs: 60_000 }, { recheckMs: 10 })
  const { token, session } = await issueToken(t, origin)
  const stream = await redeem(t, origin, token)
  for (let minute = 0; minute < 5; minute++) {
    passedMs += 50_000
    const before = touches
    // One may be in progress; the next one extends it by a whole minute.
    await until(() => touches > before + 1)
  }
  t.notOk(stream.inbox.isOver)
  stream.close()
  await until(async () => {
    passedMs += 61_000
    return (await touch([session], { slidingMs: 60_000, absoluteMs: 0, graceMs: 0 })).size === 0
  })
  t.equal((await redeem(t, origin, token, { cookie: cookiesOf(stream) })).statusCode, 401)
})

t.test('over HTTP/2 the cookie is sent with the stream in the same way', async t => {
  const { key, cert } = makeCertificate()
  const { app } = await startTokenApp(t, {}, {}, { server: { http2: true, https: { key, cert } } as never })
  const origin = `https://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const session = await openSession(t, origin, { ca: cert })
  const { token } = await app.auth.issue({ subject: 'alice', subscribe: undefined, checkSubscribe () {} } as never)
  const { headers, inbox } = await openHttp2(session, `/events?topic=news&ot=${token}`)
  t.equal(headers[http2.constants.HTTP2_HEADER_STATUS], 200)
  const [line] = headers['set-cookie']!
  t.match(line, /^__Host-sse-/)
  await inbox.until('stream.open')
  const resumed = await openHttp2(session, `/events?topic=news&ot=${token}`, { headers: { cookie: line!.split(';')[0] } })
  t.equal(resumed.headers[http2.constants.HTTP2_HEADER_STATUS], 200)
  await resumed.inbox.until('stream.open')
})

t.test('the paths can be set by options', async t => {
  const { origin } = await startTokenApp(t, { path: '/tickets', revokePath: '/tickets/revoke' })
  t.match(await post(t, `${origin}/tickets`, {}, bearer(await sign())), { status: 200 })
  t.match(await post(t, `${origin}/tickets/revoke`, { subject: 'a' }, bearer(await sign({ topics: { revoke: true } }))), { status: 204 })
  t.match(await post(t, `${origin}/events/auth`, {}, bearer(await sign())), { status: 404 })
})

t.test('an invalid option is rejected with its name, its range and the value seen', async t => {
  const app = await buildApp(t)
  const store = new MemoryTokenStore()
  const bad: Record<string, unknown[]> = {
    store: [undefined, null, 7, {}],
    path: ['events', 7],
    revokePath: [''],
    insecure: ['yes'],
    ttlMs: [0, 600_001, 1.5],
    sessionIdleMs: [0],
    sessionMaxMs: ['1h'],
    graceMs: [-1, 60_001],
    revocationMs: [0],
    maxPerSubject: [0],
    maxPerAddress: [0],
    maxFailures: [0],
    limitWindowMs: [0]
  }
  t.same(Object.keys(bad).sort(), Object.keys(tokenChecks).sort())
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      const { range } = tokenChecks[name as keyof typeof tokenChecks]
      await t.rejects(OneTimeTokens.create(app, { store, [name]: value }), { code: 'FST_SSE_BAD_OPTION', message: `oneTimeToken: option "${name}" must be ${range}, saw ` }, `${name}: ${String(value)}`)
    }
  }
  await t.rejects(OneTimeTokens.create(app, {} as never), { message: /"store" must be a token store, saw none/ })
  await t.rejects(OneTimeTokens.create(app, { store, ttl: 1 } as never), { message: /"ttl" must be one of .*, saw an unknown option/ })
  t.match((await OneTimeTokens.create(app, { store })).options, tokenDefaults)
})

t.test('an app without one-time tokens does not know the parameter', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  t.match(await ask(t, `${origin}/me?ot=${'A'.repeat(43)}`), { status: 401, json: { code: 'FST_SSE_UNAUTHORIZED' } })
  t.match(await ask(t, `${origin}/me?ot=${'A'.repeat(43)}`, bearer(await sign())), { status: 200 })
})
