import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../plugin/auth/index.ts'
import { RedisTokenStore } from '../../plugin/auth/redis.ts'
import type { TokenStore } from '../../plugin/auth/index.ts'
import { ask } from '../support/auth-app.ts'
import { connect, fetchAll, get } from '../support/client.ts'
import type { Opened } from '../support/client.ts'
import { Inbox } from '../support/inbox.ts'
import { logInto } from '../support/log.ts'
import { RedisServer } from '../support/redis-server.ts'
import { cookiesOf, ELSEWHERE, issueToken, redeem, startTokenApp } from '../support/token-app.ts'

// One test per attack, the attack told above it. Real sockets; another client is one of another address.

/** The token still opens a stream. */
async function isUnspent (t: Test, origin: string, token: string): Promise<void> {
  const { statusCode, inbox } = await redeem(t, origin, token, { localAddress: '127.0.0.77' })
  t.equal(statusCode, 200, 'it is not spent')
  await inbox.until('stream.open')
}

/** Refused, and nothing of the stream that was tried is left in the answer. */
async function isRefused (t: Test, opened: Opened, status = 401): Promise<void> {
  t.equal(opened.statusCode, status)
  t.match(opened.headers['content-type'], /^application\/json/)
  t.equal(opened.headers['set-cookie'], undefined)
  t.equal((JSON.parse(await opened.inbox.ended()) as { statusCode: number }).statusCode, status)
}

// Somebody reads the URL over a shoulder, or in a log that is written at once, and is as fast as its owner.
const stores: Record<string, (t: Test) => Promise<TokenStore>> = {
  memory: async () => new MemoryTokenStore(),
  Redis: async t => new RedisTokenStore({ connection: (await RedisServer.start(t)).url })
}
for (const [name, makeStore] of Object.entries(stores)) {
  t.test(`of 100 clients that present one token at the same moment one gets a stream (${name})`, async t => {
    const { origin } = await startTokenApp(t, { store: await makeStore(t) })
    const { token } = await issueToken(t, origin)
    const racers = await Promise.all(Array.from({ length: 100 }, (_, at) => redeem(t, origin, token, { localAddress: `127.0.1.${at + 1}` })))
    const winners = racers.filter(({ statusCode }) => statusCode === 200)
    t.equal(winners.length, 1)
    await winners[0]!.inbox.until('stream.open')
    t.match(winners[0]!.headers['set-cookie'], [/^__Host-sse-/])
    for (const racer of racers) if (racer !== winners[0]) await isRefused(t, racer)
  })
}

// The URL stays in histories and logs: whoever finds it there comes later.
t.test('a token that was used is of no use to another client, nor to the same one after the grace', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const { token } = await issueToken(t, origin)
  const owner = await redeem(t, origin, token)
  await owner.inbox.until('stream.open')
  await isRefused(t, await redeem(t, origin, token, ELSEWHERE))
  await isRefused(t, await redeem(t, origin, token))
  t.notOk(owner.inbox.isOver, 'and it does not disturb its owner')
})

t.test('a client that differs in its address or in what it says of itself is another one, also within the grace', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const headers = { 'user-agent': 'A', 'accept-language': 'de' }
  const owner = await redeem(t, origin, token, { headers })
  await owner.inbox.until('stream.open')
  for (const other of [{ ...ELSEWHERE, headers }, { headers: { ...headers, 'user-agent': 'B' } }, { headers: { ...headers, 'accept-language': 'en' } }]) {
    await isRefused(t, await redeem(t, origin, token, other))
  }
  t.notOk(owner.inbox.isOver)
})

// A user asks for a token for what he may read, and puts another topic, or his neighbour's, into the URL.
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

// The page of another origin, which the server knows and trusts with its own tokens, has got hold of one of ours.
t.test('a token issued to a page of one origin is refused to another one, listed or not', async t => {
  const origins = ['https://one.test', 'https://two.test']
  const { origin } = await startTokenApp(t, {}, { origins })
  const { token } = await issueToken(t, origin, { headers: { origin: 'https://one.test' } })
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'https://two.test' } }))
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'https://evil.test' } }), 403)
  await isRefused(t, await redeem(t, origin, token, { headers: { origin: 'null' } }), 403)
  const { statusCode } = await redeem(t, origin, token, { headers: { origin: 'https://one.test' } })
  t.equal(statusCode, 200)
})

// Somebody who has a session of his own tries its cookie, or its secret under the other's name, with the token of another.
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

// The session is there for a stream to go on; as a login for whatever else the app serves it would outlive its token.
t.test('a session resumes streams and opens nothing else', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const stream = await redeem(t, origin, token)
  t.match(await ask(t, `${origin}/me?ot=${token}`, { cookie: cookiesOf(stream) }), { status: 401, json: { code: 'FST_SSE_BAD_TOKEN' } })
  t.match(await ask(t, `${origin}/me?ot=${token}`), { status: 401 }, 'nor does a repeat')
})

// Session fixation: the attacker plants a cookie with a secret he knows before the victim redeems, and resumes with it later.
t.test('a secret the client brought along is never the session\'s', async t => {
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

// Cookie tossing: beside the victim's cookie there is one of the same name, and whoever takes "the" cookie takes the wrong one.
t.test('of two cookies of one name none counts, in whichever order', async t => {
  const { origin } = await startTokenApp(t, { graceMs: 0 })
  const { token } = await issueToken(t, origin)
  const cookie = cookiesOf(await redeem(t, origin, token))
  const tossed = `${cookie.split('=')[0]}=${Date.now().toString(36)}.${'A'.repeat(43)}`
  for (const both of [`${cookie}; ${tossed}`, `${tossed}; ${cookie}`, `${cookie};${cookie}`]) await isRefused(t, await redeem(t, origin, token, { cookie: both }))
  t.equal((await redeem(t, origin, token, { cookie: `a=b; ${cookie}; c` })).statusCode, 200, 'others do not matter')
})

// After 60 bad tokens good ones were refused, too: anybody behind the same address kept all its users out with one request a second, and
// after a restart that had forgotten all tokens a thousand listeners took a quarter of an hour to come back.
t.test('an address that shows one bad token too often is refused without asking the store, and good tokens of that address are not', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  const find = t.capture(store, 'find', store.find.bind(store))
  const { origin } = await startTokenApp(t, { maxFailures: 3, store }, {}, { server: { logger: logInto(log, 'info') } })
  const bad = 'A'.repeat(43)
  for (let time = 0; time < 3; time++) t.match(await ask(t, `${origin}/events?ot=${bad}`), { status: 401, json: { code: 'FST_SSE_BAD_TOKEN' } })
  const refused = await ask(t, `${origin}/events?ot=${bad}`, { accept: '*/*' })
  t.match(refused, { status: 429, json: { code: 'FST_SSE_TOO_MANY', message: 'too many tries of a one-time token that is not valid from this address: at most 3 in 60 s' } })
  t.ok(Number(refused.headers['retry-after']) > 0)
  const browser = await redeem(t, origin, bad)
  t.equal(browser.statusCode, 200, 'EventSource would take another status as final')
  t.match(await browser.inbox.ended(), /^:\nretry: \d+\n$/)
  t.notMatch(log.text, 'rejected for now', 'nor does it fill the log')
  t.equal(find().length, 3)

  for (let guess = 0; guess < 100; guess++) t.equal((await ask(t, `${origin}/events?ot=${randomBytes(32).toString('base64url')}`)).status, 401)
  const { token } = await issueToken(t, origin)
  for (const guess of ['short', '', `${token}&ot=${token}`]) for (let time = 0; time < 5; time++) t.equal((await ask(t, `${origin}/events?ot=${guess}`)).status, 401)
  const good = await redeem(t, origin, token)
  await good.inbox.until('stream.open')
  t.ok(cookiesOf(good))
})

// Link previews and monitors send HEAD; a browser's script may, too.
t.test('HEAD spends nothing', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const { statusCode, headers, text } = await fetchAll(t, `${origin}/events?topic=news&ot=${token}`, { method: 'HEAD' })
  t.match({ statusCode, text }, { statusCode: 200, text: '' })
  t.equal(headers['set-cookie'], undefined)
  await isUnspent(t, origin, token)
})

// A proxy that pipelines: the answer behind an open stream never leaves, and its token would be lost.
t.test('a request that stands in line behind a stream spends nothing', async t => {
  const { origin } = await startTokenApp(t)
  const [first, second] = [await issueToken(t, origin), await issueToken(t, origin)]
  const client = await connect(t, origin)
  client.send(get(`/events?topic=news&ot=${first.token}`) + get(`/events?topic=news&ot=${second.token}`))
  await client.inbox.until('stream.open')
  await isUnspent(t, origin, second.token)
  client.socket.destroy()
  await once(client.socket, 'close')
})

// Somebody is made to spend his token for nothing: by a wrong Accept, a topic he may not read, a log that is away, a full house.
t.test('a request that is refused spends nothing, whatever it is refused for', async t => {
  const { app, origin } = await startTokenApp(t, {}, {}, { after: addRefusals })
  const refusals: [string, number, object?][] = [
    ['/events?topic=news', 406, { accept: 'text/html' }], ['/events?topic=other', 403], ['/events?topic=*', 400], ['/full?', 503], ['/wrong?', 500], ['/none?', 404],
    ['/away?', 503, { accept: '*/*' }]
  ]
  for (const [path, status, headers] of refusals) {
    const { token } = await issueToken(t, origin)
    const { statusCode, headers: { 'set-cookie': cookie } } = await fetchAll(t, `${origin}${path}&ot=${token}`, { headers: { accept: 'text/event-stream', ...headers } })
    t.match({ path, statusCode, cookie }, { path, statusCode: status, cookie: undefined })
    await isUnspent(t, origin, token)
  }
  const { token } = await issueToken(t, origin)
  const told = await fetchAll(t, `${origin}/away?ot=${token}`)
  t.match({ statusCode: told.statusCode, text: told.text }, { statusCode: 200, text: /retry: \d+\n$/ }, 'EventSource is told to come back')
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
