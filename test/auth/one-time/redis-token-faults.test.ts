import { Cluster } from 'ioredis'
import t from 'tap'
import { RedisTokenStore } from '../../../plugin/auth/one-time/redis-token-store.ts'
import type { StoreChange } from '../../../plugin/auth/one-time/token-store.ts'
import { until } from '../../support/until.ts'
import { follow } from '../../support/model/redis-schedule.ts'
import { startCluster } from '../../support/redis/redis-cluster.ts'
import { RedisServer, silentLogger } from '../../support/redis/redis-server.ts'
import { stageRedisStore } from '../../support/redis/redis-token-stage.ts'
import { TcpProxy } from '../../support/network/tcp-proxy.ts'
import { LIMITS, newHash, presented, recordOf } from '../../support/auth/token-store-contract.ts'

const AWAY = { code: 'FST_SSE_STORE_UNAVAILABLE', statusCode: 503 }

/** Calls every method of the store. */
function calls (store: RedisTokenStore): Promise<unknown>[] {
  return [
    store.issue(newHash(), recordOf('ann'), 30_000), store.find(
      presented(newHash()),
      LIMITS
    ), store.redeem(presented(newHash()), newHash(), LIMITS),
    store.touch([newHash(), newHash()], LIMITS), store.revokeSession(newHash()), store.revokeSubject(
      'zoe',
      1_000
    ), store.revokedSubjects(), store.supersede('a', 1)
  ]
}

/** Retries until the call succeeds. */
function atLast (call: () => Promise<void>): Promise<void> {
  return until(() => call().then(() => true, () => false))
}

t.test('while Redis is unavailable every call is rejected in bounded time, and the store recovers by itself', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { store, changes } = await stageRedisStore(t, { connection: proxy.url, commandTimeoutMs: 1_000 }, [server])
  const hash = newHash()
  await atLast(() => store.issue(hash, recordOf('ann'), 600_000))
  const faults = [
    ['connections are refused', () => proxy.down(), () => proxy.up()],
    ['nothing is answered', () => proxy.silence(), () => { proxy.unsilence(); proxy.cut() }]
  ] as const
  for (const [name, begin, end] of faults) {
    begin()
    await Promise.all(calls(store).map(call => t.rejects(call, AWAY, name)))
    changes.length = 0
    end()
    await until(async () => (await store.find(presented(hash), LIMITS).catch(() => undefined))?.kind === 'fresh')
    await until(() => changes.some(({ kind }) => kind === 'resync'))
  }
  await atLast(() => store.revokeSession(hash))
  await until(() => changes.some(({ kind }) => kind === 'session revoked'))
})

t.test('when Redis is killed and restarts empty, it has forgotten everything, and nobody is wrongly rejected', async t => {
  const server = await RedisServer.start(t)
  const { store } = await stageRedisStore(t, { connection: server.url }, [server])
  const [before, after] = [newHash(), newHash()]
  await store.issue(before, recordOf('ann'), 30_000)
  await server.kill()
  await Promise.all(calls(store).map(call => t.rejects(call, AWAY)))
  await server.start()
  await atLast(() => store.issue(after, recordOf('ann'), 30_000))
  t.equal(await store.find(presented(before), LIMITS), undefined)
  t.match(await store.redeem(presented(after), newHash(), LIMITS), { kind: 'fresh' })
})

t.test('a store that is started while Redis is unavailable starts, and works once Redis is available', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  proxy.down()
  const { store, changes } = await stageRedisStore(t, { connection: proxy.url }, [server])
  await t.rejects(store.revokedSubjects(), AWAY)
  proxy.up()
  await atLast(() => store.revokeSession('a'))
  // Received once the listener is subscribed; there are no streams for earlier messages.
  await until(async () => {
    await store.supersede('a', 1)
    return changes.some(({ kind }) => kind === 'superseded')
  })
  t.notOk(changes.some(({ kind }) => kind === 'resync'))
})

// Regression: the kernel of a frozen server accepts connections, but nothing is answered: the start of the app waited
// indefinitely.
t.test('a store that is started while Redis is frozen starts, and works once Redis continues', async t => {
  const server = await RedisServer.start(t)
  server.pause()
  const { store, changes } = await stageRedisStore(t, { connection: server.url, commandTimeoutMs: 300 }, [server])
  await t.rejects(store.revokedSubjects(), AWAY)
  server.unpause()
  await until(() => store.revokeSession('a').then(() => true, () => false))
  await until(async () => {
    await store.supersede('a', 1).catch(() => {})
    return changes.some(({ kind }) => kind === 'superseded')
  })
})

t.test('a store that is stopped while it tries to subscribe stops trying', async t => {
  const server = await RedisServer.start(t)
  await server.with(async client => { await client.call('ACL', 'SETUSER', 'default', 'resetchannels') })
  const store = new RedisTokenStore({ connection: server.url })
  const warnings: string[] = []
  await store.start(() => {}, { warn: (_, message) => warnings.push(message) })
  t.same(warnings, ['redis: the token store cannot listen for revocations; retrying'])
  await store.stop()
})

// A user without permission for a channel: commands work, subscribing does not, and only the log shows it.
t.test('a channel that is forbidden is reported in the log, and the subscription is retried until it is allowed', async t => {
  const server = await RedisServer.start(t)
  await server.with(async client => { await client.call('ACL', 'SETUSER', 'default', 'resetchannels') })
  const { store, changes } = await stageRedisStore(t, { connection: server.url }, [server])
  t.same(await store.revokedSubjects(), new Map())
  await t.rejects(store.supersede('a', 1), AWAY)
  await server.with(async client => { await client.call('ACL', 'SETUSER', 'default', 'allchannels') })
  await until(async () => {
    await store.supersede('a', 1)
    return changes.length > 0
  })
})

t.test('a connection for messages that is cut is replaced, and the store reports that messages may have been lost', async t => {
  const server = await RedisServer.start(t)
  const { store, changes } = await stageRedisStore(t, { connection: server.url }, [server])
  await server.with(async client => { await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub') })
  await until(() => changes.length === 1)
  t.same(changes, [{ kind: 'resync' }])
  await store.supersede('a', 1)
  await until(() => changes.length === 2)
})

// Regression: missed changes were reported only by the connection for messages. If that was restored first, the query
// for them failed, and was repeated only with the next check.
t.test('a connection for commands that is cut is replaced, and reported: missed changes can be queried only then', async t => {
  const server = await RedisServer.start(t)
  const { store, changes } = await stageRedisStore(t, { connection: server.url }, [server])
  await server.with(async client => { await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes') })
  await until(() => changes.length === 1)
  t.same(changes, [{ kind: 'resync' }])
  t.same(await store.revokedSubjects(), new Map())
})

// The kernel closes a silent connection after about 15 minutes: until then, revocations from other processes were not
// received.
t.test('a connection for messages that falls silent is detected and replaced, and the store reports that messages may have been lost', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { store, changes } = await stageRedisStore(t, { connection: proxy.url, commandTimeoutMs: 60_000 }, [server])
  proxy.deafen('subscribe')
  await store.supersede('a', 1)
  await until(() => changes.length > 0)
  t.same(changes, [{ kind: 'resync' }])
  await store.supersede('a', 2)
  await until(() => changes.some(change => change.kind === 'superseded' && change.turn === 2))
})

t.test('a connection for commands that falls silent is detected and replaced, and messages are received all the time', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { store, changes } = await stageRedisStore(t, { connection: proxy.url, commandTimeoutMs: 60_000 }, [server])
  const { store: other } = await stageRedisStore(t, { connection: server.url }, [server])
  for (let count = 0; count < 2; count++) await store.revokedSubjects()
  proxy.deafen('evalsha')
  await other.supersede('a', 1)
  await until(() => changes.some(({ kind }) => kind === 'superseded'))
  await until(() => changes.some(({ kind }) => kind === 'resync'))
  t.same(await store.revokedSubjects(), new Map())
  t.equal(changes.filter(({ kind }) => kind === 'resync').length, 1)
})

// Regression: the connection that a cluster client keeps for messages was replaced without any notice, and never if it
// was silent.
t.test('on a cluster a connection for messages that is cut or falls silent is replaced, and the store reports that messages may have been lost', async t => {
  const servers = await startCluster(t)
  const proxies = await Promise.all(servers.map(server => TcpProxy.start(t, server.port)))
  const natMap = Object.fromEntries(servers.map(({ port }, at) => [
    `127.0.0.1:${port}`, { host: '127.0.0.1', port: proxies[at]!.port }
  ]))
  const client = new Cluster(proxies.map(({ port }) => ({ host: '127.0.0.1', port })), { natMap, lazyConnect: true })
  t.teardown(() => { client.disconnect() })
  const { store, changes } = await stageRedisStore(t, { connection: client, commandTimeoutMs: 60_000 }, [])
  const faults = [
    () => Promise.all(servers.map(server => server.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')))),
    () => { for (const proxy of proxies) proxy.deafen('subscribe') }
  ]
  for (const [turn, begin] of faults.entries()) {
    changes.length = 0
    await begin()
    await until(() => changes.some(({ kind }) => kind === 'resync'))
    await store.supersede('a', turn)
    await until(() => changes.some(change => change.kind === 'superseded' && change.turn === turn))
  }
})

t.test('messages of another program on the channel do no harm', async t => {
  const server = await RedisServer.start(t)
  const changes: StoreChange[] = []
  const warnings: string[] = []
  const store = new RedisTokenStore({ connection: server.url })
  t.teardown(() => store.stop())
  await store.start(change => changes.push(change), { warn: (_, message) => warnings.push(message) })
  const messages = [
    '', 'null', '7', '{', '"x"', '{}', '{"kind":"session revoked"}', '{"kind":"subject revoked","subject":"a"}',
    '{"kind":"superseded","session":"a"}', '{"kind":"subject revoked","subject":7,"atMs":1}',
    '{"kind":"superseded","turn":1}'
  ]
  await server.with(async client => { for (const message of messages) await client.publish('sse:auth:db0', message) })
  await until(() => changes.length === messages.length)
  t.ok(changes.every(({ kind }) => kind === 'resync'))
  t.equal(warnings.length, messages.length)
})

// Replication is asynchronous: a replica that is promoted may not know yet that a token was spent. The token is then
// valid again until its own expiry, for the rest of its 30 seconds at most.
t.test('a replica that is promoted too early accepts a spent token again, but not after its expiry', async t => {
  const [master, replica] = [
    await RedisServer.start(t, { args: ['--repl-diskless-sync-delay', '0'] }), await RedisServer.start(t)
  ]
  const proxy = await TcpProxy.start(t, master.port)
  const { store } = await stageRedisStore(t, { connection: proxy.url }, [])
  const [long, short] = [newHash(), newHash()]
  await follow(replica, master)
  await store.issue(long, recordOf('ann'), 600_000)
  await store.issue(short, recordOf('ann'), 2_000)
  await master.with(async client => { await client.wait(1, 0) })
  await replica.with(async client => { await client.replicaof('NO', 'ONE') })
  for (const hash of [long, short]) await store.redeem(presented(hash), newHash(), LIMITS)
  const thief = { fingerprint: 'a thief' }
  t.equal(await store.find(presented(long, thief), LIMITS), undefined, 'spent')
  proxy.lead(replica.port)
  // As after restoring a dump: the key stays, and its own expiry counts.
  await replica.with(async client => { await client.persist(`sse:token:{${short}}`) })
  await until(async () => (await store.find(presented(long, thief), LIMITS).catch(() => undefined))?.kind === 'fresh')
  await until(async () => await store.find(presented(short, thief), LIMITS) === undefined)
  t.match(await store.redeem(presented(long, thief), newHash(), LIMITS), { kind: 'fresh' })
  t.equal(await store.redeem(presented(short, thief), newHash(), LIMITS), undefined)
})

t.test('a session that a dump restored after its expiry has ended', async t => {
  const server = await RedisServer.start(t)
  const { store } = await stageRedisStore(t, { connection: server.url }, [])
  const [hash, secret] = [newHash(), newHash()]
  await store.issue(hash, recordOf('ann'), 30_000)
  await store.redeem(presented(hash), secret, LIMITS)
  const given = presented(hash, { secretHash: secret })
  t.match(await store.find(given, LIMITS), { kind: 'resumed' })
  await server.with(async client => {
    await client.persist(`sse:session:{${hash}}`)
    await client.hincrby(`sse:session:{${hash}}`, 'ends', -LIMITS.absoluteMs)
  })
  t.equal(await store.find(given, LIMITS), undefined)
  t.same(await store.touch([hash], LIMITS), new Set())
  await server.with(async client => { t.equal(await client.exists(`sse:session:{${hash}}`), 1) })
})

t.test('a store that is stopped closes its connections', async t => {
  const server = await RedisServer.start(t)
  const store = new RedisTokenStore({ connection: server.url })
  await store.start(() => {}, silentLogger)
  const count = async (): Promise<number> =>
    server.with(async client => (await client.client('LIST') as string).trim().split('\n').length)
  // One connection for commands, one for messages, and the one that counts them; the one that waited for the server
  // closes.
  await until(async () => await count() === 3)
  await store.stop()
  await until(async () => await count() === 1)
  await t.rejects(store.revokedSubjects(), AWAY)
})
