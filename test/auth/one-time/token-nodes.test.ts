import { connect } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { RedisTokenStore } from '../../../plugin/auth/redis.ts'
import { ask, listenTo } from '../../support/auth/auth-app.ts'
import type { AuthApp } from '../../support/auth/auth-app.ts'
import { until } from '../../support/until.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { TcpProxy } from '../../support/network/tcp-proxy.ts'
import { cookiesOf, ELSEWHERE, issueToken, redeem, startTokenApp } from '../../support/auth/token-app.ts'
import { bearer, nowS, sign } from '../../support/auth/tokens.ts'

// Several nodes with one Redis: a client may connect to any node, and any node may be notified.

interface Nodes { server: RedisServer, nodes: readonly [AuthApp, AuthApp], proxy: TcpProxy }

/** Two apps with one Redis; the second one reaches it through a proxy. */
async function startNodes (t: Test, recheckMs = 600_000): Promise<Nodes> {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const start = (connection: string): Promise<AuthApp> =>
    startTokenApp(t, { store: new RedisTokenStore({ connection }) }, { recheckMs })
  return { server, proxy, nodes: [await start(server.url), await start(proxy.url)] }
}

t.test('a token issued by one node is redeemed on another, resumed on the first, and its stream there is superseded', async t => {
  const { nodes: [one, two] } = await startNodes(t)
  const { token } = await issueToken(t, one.origin)
  const first = await redeem(t, two.origin, token)
  await first.inbox.until('stream.open')
  const resumed = await redeem(t, one.origin, token, { cookie: cookiesOf(first), ...ELSEWHERE })
  t.equal(resumed.statusCode, 200)
  await first.inbox.ended()
  const repeated = await redeem(t, two.origin, token)
  t.match(await repeated.inbox.ended(), /retry: \d+\n+$/, 'the same client within the grace period, while the stream is open')
  resumed.close()
  await until(async () => cookiesOf(await redeem(t, two.origin, token)) !== '')
})

t.test('a revocation ends streams on every node at once: of a session, and of a subject with any credentials', async t => {
  const { nodes: [one, two] } = await startNodes(t)
  const [lost, kept] = [await issueToken(t, one.origin), await issueToken(t, one.origin, { claims: { sub: 'bob' } })]
  const session = await redeem(t, two.origin, lost.token)
  const other = await redeem(t, two.origin, kept.token)
  const headers = bearer(await sign({ iat: nowS() - 10 }))
  const jwt = await listenTo(t, two.origin, '/events?topic=news', headers)
  for (const { inbox } of [session, other, jwt]) await inbox.until('stream.open')
  await one.app.auth.revoke({ session: lost.session })
  await session.inbox.ended()
  t.notOk(jwt.inbox.isOver)
  await one.app.auth.revoke({ subject: 'alice' })
  await jwt.inbox.ended()
  t.notOk(other.inbox.isOver)
  for (const { origin } of [one, two]) {
    t.equal((await listenTo(t, origin, '/events?topic=news', headers)).statusCode, 401)
    t.equal((await redeem(t, origin, lost.token, { cookie: cookiesOf(session) })).statusCode, 401)
  }
})

t.test('a revocation that was announced while the connection for messages was cut is found after it reconnects', async t => {
  const { nodes: [one, two], proxy } = await startNodes(t)
  const { token, session } = await issueToken(t, one.origin)
  const stream = await redeem(t, two.origin, token)
  await stream.inbox.until('stream.open')
  proxy.down()
  await one.app.auth.revoke({ session })
  t.notOk(stream.inbox.isOver)
  proxy.up()
  await stream.inbox.ended()
})

// A connection can stop delivering messages without being closed, as after some failovers: then the node is never
// notified.
t.test('a revocation that a node did not receive is found by its next check', async t => {
  const { nodes: [one, two], proxy } = await startNodes(t, 50)
  const [lost, kept] = [await issueToken(t, one.origin), await issueToken(t, one.origin, { claims: { sub: 'bob' } })]
  const streams = [await redeem(t, two.origin, lost.token), await redeem(t, two.origin, kept.token)] as const
  for (const { inbox } of streams) await inbox.until('stream.open')
  proxy.deafen('subscribe')
  await one.app.auth.revoke({ session: lost.session })
  await streams[0].inbox.ended()
  t.notOk(streams[1].inbox.isOver)
  await one.app.auth.revoke({ subject: 'bob' })
  await streams[1].inbox.ended()
})

t.test('while Redis is unavailable open streams stay, clients that reconnect are asked to retry later, and all continue afterwards', async t => {
  const { nodes: [one, two], proxy } = await startNodes(t, 50)
  const [open, fresh] = [await issueToken(t, one.origin), await issueToken(t, one.origin)]
  const stream = await redeem(t, two.origin, open.token)
  await stream.inbox.until('stream.open')
  proxy.down()
  for (const [token, cookie] of [[open.token, cookiesOf(stream)], [fresh.token, '']] as const) {
    const told = await redeem(t, two.origin, token, { cookie, headers: { accept: 'text/event-stream' } })
    t.equal(told.statusCode, 200, 'EventSource would treat 503 as final')
    t.equal(told.headers['set-cookie'], undefined)
    t.match(await told.inbox.ended(), /^:\nretry: \d+\n$/)
    t.equal((await redeem(t, two.origin, token, { cookie, headers: { accept: '*/*' } })).statusCode, 503)
  }
  await t.rejects(two.app.auth.revoke({ subject: 'x' }), { code: 'FST_SSE_STORE_UNAVAILABLE', statusCode: 503 })
  await t.rejects(issueToken(t, two.origin), { message: /no token: 503 .*FST_SSE_STORE_UNAVAILABLE/ })
  t.notOk(stream.inbox.isOver)
  proxy.up()
  await until(() => two.app.auth.revoke({ subject: 'x' }).then(() => true, () => false))
  t.equal((await redeem(t, two.origin, open.token, { cookie: cookiesOf(stream) })).statusCode, 200)
  t.equal((await redeem(t, two.origin, fresh.token)).statusCode, 200)
})

// Somebody who can read the memory of Redis, a dump or its traffic must not be able to open a stream with it.
/**
 * Records every command that the server receives. By hand, because ioredis throws if a command arrives together with
 * the reply to MONITOR.
 */
async function watchCommands (t: Test, server: RedisServer): Promise<{ readonly text: string }> {
  const seen = { text: '' }
  const socket = connect(server.port, '127.0.0.1').setEncoding('latin1').on('data', (text: string) => {
    seen.text += text
  })
  t.teardown(() => { socket.destroy() })
  socket.write('MONITOR\r\n')
  await until(() => seen.text.startsWith('+OK'))
  return seen
}

t.test('neither a token nor a secret is ever in Redis, in a key, value, command or message', async t => {
  const { server, nodes: [one, two] } = await startNodes(t, 50)
  const seen = await watchCommands(t, server)
  const issued = [
    await issueToken(t, one.origin), await issueToken(t, one.origin), await issueToken(t, two.origin)
  ] as const
  const stream = await redeem(t, one.origin, issued[0].token)
  stream.close()
  let repeat = stream
  await until(async () => cookiesOf(repeat = await redeem(t, two.origin, issued[0].token)) !== '')
  await redeem(t, two.origin, issued[0].token, { cookie: cookiesOf(repeat) })
  await one.app.auth.revoke({ session: issued[1].session })
  await redeem(t, one.origin, issued[2].token)
  const secrets = [stream, repeat].map(opened => cookiesOf(opened).split('.')[1]!)
  t.ok(secrets.every(secret => /^[\w-]{43}$/.test(secret)))
  const dump = await server.with(async client => {
    const keys = await client.keys('*')
    return JSON.stringify(await Promise.all(keys.map(async key => [
      key, await client.type(key) === 'hash' ? await client.hgetall(key) : await client.zrange(key, 0, '-1')
    ])))
  })
  t.match(dump, /sse:session:\{/)
  await until(() => seen.text.includes(issued[2].session))
  const all = dump + seen.text
  for (const secret of [...issued.map(({ token }) => token), ...secrets, ...[stream, repeat].map(cookiesOf)]) {
    t.notOk(all.includes(secret))
  }
  t.ok(all.includes(issued[0].session), 'only hashes')
})

// Regression: a node that started before Redis learned of no revocation until its next check: a revoked token published
// 27 times in the meantime.
t.test('a node that starts before Redis learns about revocations as soon as Redis is available', async t => {
  const { server, proxy, nodes: [one] } = await startNodes(t)
  const headers = bearer(await sign({ iat: nowS() - 10 }))
  await one.app.auth.revoke({ subject: 'alice' })
  proxy.down()
  const late = await startTokenApp(t, {
    store: new RedisTokenStore({ connection: proxy.url, commandTimeoutMs: 500 })
  }, { recheckMs: 600_000 })
  t.equal((await ask(t, `${late.origin}/me`, headers)).status, 200, 'it cannot be known yet')
  proxy.up()
  await until(async () => (await ask(t, `${late.origin}/me`, headers)).status === 401)
  t.ok(server)
})
