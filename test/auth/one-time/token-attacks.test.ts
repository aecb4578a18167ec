import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../../plugin/auth/index.ts'
import { RedisTokenStore } from '../../../plugin/auth/redis.ts'
import type { TokenStore } from '../../../plugin/auth/index.ts'
import { ask } from '../../support/auth/auth-app.ts'
import { connect, fetchAll, get } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { logInto } from '../../support/log.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { cookiesOf, ELSEWHERE, issueToken, redeem, startTokenApp } from '../../support/auth/token-app.ts'

// One test per attack, with the attack described above it. Real sockets are used; another client means another address.

/** True if the token still opens a stream. */
async function isUnspent (t: Test, origin: string, token: string): Promise<void> {
  const { statusCode, inbox } = await redeem(t, origin, token, { localAddress: '127.0.0.77' })
  t.equal(statusCode, 200, 'it is not spent')
  await inbox.until('stream.open')
}

/** The request is rejected, and the response contains nothing of the stream that was requested. */
async function isRefused (t: Test, opened: Opened, status = 401): Promise<void> {
  t.equal(opened.statusCode, status)
  t.match(opened.headers['content-type'], /^application\/json/)
  t.equal(opened.headers['set-cookie'], undefined)
  t.equal((JSON.parse(await opened.inbox.ended()) as { statusCode: number }).statusCode, status)
}

// Somebody reads the URL over the user's shoulder or in a live log, and is as fast as its owner.
const stores: Record<string, (t: Test) => Promise<TokenStore>> = {
  memory: async () => new MemoryTokenStore(),
  Redis: async t => new RedisTokenStore({ connection: (await RedisServer.start(t)).url })
}
for (const [name, makeStore] of Object.entries(stores)) {
  t.test(`of 100 clients that present one token at the same time one gets a stream (${name})`, async t => {
    const { origin } = await startTokenApp(t, { store: await makeStore(t) })
    const { token } = await issueToken(t, origin)
    const racers = await Promise.all(Array.from(
      { length: 100 },
      (_, at) => redeem(t, origin, token, { localAddress: `127.0.1.${at + 1}` })
    ))
    const winners = racers.filter(({ statusCode }) => statusCode === 200)
    t.equal(winners.length, 1)
    await winners[0]!.inbox.until('stream.open')
    t.match(winners[0]!.headers['set-cookie'], [/^__Host-sse-/])
    for (const racer of racers) if (racer !== winners[0]) await isRefused(t, racer)
  })
}

// The URL stays in histories and logs, where somebody finds it later.
t.test('a used token is useless to another client, and to the same one after the grace period', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const { token } = await issueToken(t, origin)
  const owner = await redeem(t, origin, token)
  await owner.inbox.until('stream.open')
  await isRefused(t, await redeem(t, origin, token, ELSEWHERE))
  await isRefused(t, await redeem(t, origin, token))
  t.notOk(owner.inbox.isOver, 'and it does not affect its owner')
})

t.test('a client with another address or other identifying headers is a different one, also within the grace period', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const headers = { 'user-agent': 'A', 'accept-language': 'de' }
  const owner = await redeem(t, origin, token, { headers })
  await owner.inbox.until('stream.open')
  for (const other of [{ ...ELSEWHERE, headers }, { headers: { ...headers, 'user-agent': 'B' } }, {
    headers: { ...headers, 'accept-language': 'en' }
  }]) {
    await isRefused(t, await redeem(t, origin, token, other))
  }
  t.notOk(owner.inbox.isOver)
})

// A user requests a token for permitted topics, and puts another topic, or that of another user, into the URL.
t.test('a token opens the topics it was issued for and no others', async t => {
  const { origin } = await startTokenApp(t)
  const claims = { topics: { subscribe: ['news', 'user.alice.*'] } }
  const { token } = await issueToken(t, origin, { claims, topics: ['user.alice.*'] })
  for (const topic of ['news', 'user.bob.mail', 'user.alice', 'user.alice.mail&topic=news']) {
    t.equal((await redeem(t, origin, token, { topic })).statusCode, 403, topic)
  }
  const { statusCode } = await redeem(t, origin, token, { topic: 'user.alice.mail' })
  t.equal(statusCode, 200)
})

// A page of another origin, which the server knows and trusts with tokens of its own, has obtained one of ours.
t.test('a token issued to a page of one origin is rejected for another one, listed or not', async t => {
  const origins = ['https://one.test', 'https://two.test']
  const { origin } = await startTokenApp(t, {}, { origins })
  const { token } = await issueToken(t, origin, { headers: { origin: 'https://one.test' } })
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'https://two.test' } }))
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'https://evil.test' } }), 403)
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'null' } }), 403)
  const { statusCode } = await redeem(t, origin, token, { headers: { origin: 'https://one.test' } })
  t.equal(statusCode, 200)
})

// An attacker with a session of their own tries its cookie, or its secret under the other cookie's name, with another
// user's token.
t.test('the session of one token does not resume another', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const [alice, mallory] = [await issueToken(t, origin), await issueToken(t, origin, { claims: { sub: 'mallory' } })]
  const his = cookiesOf(await redeem(t, origin, alice.token))
  const own = cookiesOf(await redeem(t, origin, mallory.token))
  const renamed = `${his.split('=')[0]}=${own.split('=')[1]}`
  for (const cookie of [own, renamed]) await isRefused(t, await redeem(t, origin, alice.token, { cookie }))
  t.equal((await redeem(t, origin, alice.token, { cookie: his })).statusCode, 200)
})

t.test('the cookie alone opens nothing', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const cookie = cookiesOf(await redeem(t, origin, token))
  t.match(await ask(t, `${origin}/events?topic=news`, { cookie }), { status: 401 })
  t.match(await ask(t, `${origin}/events?topic=news&ot=`, { cookie }), { status: 401 })
})

// A session exists so that a stream can be resumed; as a login for other parts of the app it would outlive its token.
t.test('a session resumes streams and opens nothing else', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const stream = await redeem(t, origin, token)
  t.match(await ask(t, `${origin}/me?ot=${token}`, { cookie: cookiesOf(stream) }), {
    status: 401, json: { code: 'FST_SSE_BAD_TOKEN' }
  })
  t.match(await ask(t, `${origin}/me?ot=${token}`), { status: 401 }, 'nor does a repeated request')
})

// Session fixation: the attacker sets a cookie with a known secret before the victim redeems the token, and resumes
// with it later.
t.test('a secret that the client sends is never used as that of the session', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const { token, session } = await issueToken(t, origin)
  const planted = `__Host-sse-${session.slice(0, 16)}=${Date.now().toString(36)}.${'A'.repeat(43)}`
  const victim = await redeem(t, origin, token, { cookie: planted })
  t.equal(victim.statusCode, 200)
  const cookie = cookiesOf(victim)
  t.equal(cookie.split('=')[0], planted.split('=')[0])
  t.not(cookie, planted)
  await isRefused(t, await redeem(t, origin, token, { cookie: planted }))
})

// Cookie tossing: in addition to the victim's cookie there is another one with the same name, and a parser that picks
// one of them may pick the wrong one.
t.test('of two cookies of one name neither counts, in any order', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const { token } = await issueToken(t, origin)
  const cookie = cookiesOf(await redeem(t, origin, token))
  const tossed = `${cookie.split('=')[0]}=${Date.now().toString(36)}.${'A'.repeat(43)}`
  for (const both of [`${cookie}; ${tossed}`, `${tossed}; ${cookie}`, `${cookie};${cookie}`]) {
    await isRefused(t, await redeem(t, origin, token, { cookie: both }))
  }
  t.equal((await redeem(t, origin, token, { cookie: `a=b; ${cookie}; c` })).statusCode, 200, 'cookies with other names do not matter')
})

// Regression: after 60 invalid tokens, valid ones were rejected, too: anybody behind the same address could lock out
// all its users with one request per second, and after a restart that had lost all tokens, a thousand listeners needed
// a quarter of an hour to return.
t.test('an address that presents one bad token too often is rejected without querying the store, and its valid tokens are not', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  const find = t.capture(store, 'find', store.find.bind(store))
  const { origin } = await startTokenApp(t, { maxFailures: 3, store }, {}, { server: { logger: logInto(log, 'info') } })
  const bad = 'A'.repeat(43)
  for (let time = 0; time < 3; time++) {
    t.match(await ask(t, `${origin}/events?ot=${bad}`), { status: 401, json: { code: 'FST_SSE_BAD_TOKEN' } })
  }
  const refused = await ask(t, `${origin}/events?ot=${bad}`, { accept: '*/*' })
  t.match(refused, {
    status: 429,
    json: {
      code: 'FST_SSE_TOO_MANY',
      message: 'too many tries of a one-time token that is not valid from this address: at most 3 in 60 s'
    }
  })
  t.ok(Number(refused.headers['retry-after']) > 0)
  const browser = await redeem(t, origin, bad)
  t.equal(browser.statusCode, 200, 'EventSource would treat another status as final')
  t.match(await browser.inbox.ended(), /^:\nretry: \d+\n$/)
  t.notMatch(log.text, 'event stream rejected', 'and it does not fill the log')
  t.equal(find().length, 3)

  for (let guess = 0; guess < 100; guess++) {
    t.equal((await ask(t, `${origin}/events?ot=${randomBytes(32).toString('base64url')}`)).status, 401)
  }
  const { token } = await issueToken(t, origin)
  for (const guess of ['short', '', `${token}&ot=${token}`]) {
    for (let time = 0; time < 5; time++) t.equal((await ask(t, `${origin}/events?ot=${guess}`)).status, 401)
  }
  const good = await redeem(t, origin, token)
  await good.inbox.until('stream.open')
  t.ok(cookiesOf(good))
})

// Link previews and monitors send HEAD, and scripts in browsers can, too.
t.test('HEAD spends nothing', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const { statusCode, headers, text } = await fetchAll(t, `${origin}/events?topic=news&ot=${token}`, { method: 'HEAD' })
  t.match({ statusCode, text }, { statusCode: 200, text: '' })
  t.equal(headers['set-cookie'], undefined)
  await isUnspent(t, origin, token)
})

// A proxy that pipelines requests: the response behind an open stream is never sent, and its token would be lost.
t.test('a request that waits behind a stream spends nothing', async t => {
  const { origin } = await startTokenApp(t)
  const [first, second] = [await issueToken(t, origin), await issueToken(t, origin)]
  const client = await connect(t, origin)
  client.send(get(`/events?topic=news&ot=${first.token}`) + get(`/events?topic=news&ot=${second.token}`))
  await client.inbox.until('stream.open')
  await isUnspent(t, origin, second.token)
  client.socket.destroy()
  await once(client.socket, 'close')
})

// An attacker makes a user spend the token for nothing: through a wrong Accept header, a forbidden topic, an
// unavailable log, or a full service.
t.test('a rejected request spends nothing, whatever the reason', async t => {
  const { app, origin } = await startTokenApp(t, {}, {}, { after: addRefusals })
  const refusals: [string, number, object?][] = [
    ['/events?topic=news', 406, { accept: 'text/html' }], ['/events?topic=other', 403], ['/events?topic=*', 400], [
      '/full?', 503
    ], ['/wrong?', 500], ['/none?', 404],
    ['/away?', 503, { accept: '*/*' }]
  ]
  for (const [path, status, headers] of refusals) {
    const { token } = await issueToken(t, origin)
    const { statusCode, headers: { 'set-cookie': cookie } } = await fetchAll(t, `${origin}${path}&ot=${token}`, {
      headers: { accept: 'text/event-stream', ...headers }
    })
    t.match({ path, statusCode, cookie }, { path, statusCode: status, cookie: undefined })
    await isUnspent(t, origin, token)
  }
  const { token } = await issueToken(t, origin)
  const told = await fetchAll(t, `${origin}/away?ot=${token}`)
  t.match({ statusCode: told.statusCode, text: told.text }, {
    statusCode: 200, text: /retry: \d+\n$/
  }, 'EventSource is asked to retry later')
  t.equal(told.headers['set-cookie'], undefined)
  await isUnspent(t, origin, token)
  await app.close()
})

function addRefusals (app: FastifyInstance): void {
  const refuse = (statusCode: number) => () => { throw Object.assign(new Error('refused'), { statusCode }) }
  app.get('/away', { grant: true }, (request, reply) => reply.sse({ open: refuse(503) }))
  app.get('/wrong', { grant: true }, (request, reply) => reply.sse({ open: refuse(500) }))
  app.get('/full', { grant: true, preHandler: async () => refuse(503)() }, (request, reply) => reply.sse('never'))
}
