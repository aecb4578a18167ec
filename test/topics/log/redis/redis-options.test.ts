import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { RedisTokenStore } from '../../../../plugin/auth/one-time/redis-token-store.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { RedisLogOptions } from '../../../../plugin/topics/log/redis/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { ALL, newEvents, Recorder } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { startCluster } from '../../../support/redis/redis-cluster.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

const host = '127.0.0.1'

// The whole URL was in the message, and in the log.
t.test('a password of another type is not shown, and the message says what must be given', t => {
  const url = 'redis://app:sec"ret@h:6379/0'
  t.throws(() => new RedisLog(
    url as never
  ), { message: 'topics: option "options" must be an object { connection, … }, saw "redis://***@h:6379/0"' })
  t.throws(() => new RedisTokenStore(
    url as never
  ), { message: 'RedisTokenStore: option "options" must be an object { connection, … }, saw "redis://***@h:6379/0"' })
  t.throws(() => new RedisLog({ connection: url, retention: { url, password: 'secret' } } as never), {
    message: /saw \{"url":"redis:\/\/\*\*\*@h:6379\/0","password":"\*\*\*"\}$/
  })
  t.end()
})

// "/events" ended the process with ioredis' stack, "/1abc" was database 1, and a raw "%" was a URIError.
t.test('an impossible connection is rejected by name, and no password is shown', async t => {
  const refused: [unknown, RegExp][] = [
    ['redis://h:6379/events', /option "connection" must be a URL such as .*database number/],
    ['redis://h:6379/1abc', /option "connection" must be a URL/],
    ['redis://h:6379/-1', /option "connection" must be a URL/],
    ['redis:///run/redis.sock', /option "connection" must be a URL/],
    ['redis://app:50%off@h', /saw "redis:\/\/\*\*\*@h"/],
    ['redis://app:sec/ret@h:1', /saw "redis:\/\/\*\*\*@h:1"/],
    ['app:secret@h', /saw "\*\*\*@h"/],
    ['redis://h:port', /must be a URL/],
    ['http://h', /must be a URL/],
    ['//h', /must be a URL/],
    ['', /must be a URL/],
    ['6379', /must be a URL/],
    ['redis://h?db=x', /option "connection.db" must be an integer from 0/],
    ['redis://h?role=slave', /option "connection.role" must be "master"/],
    [['redis://h'], /option "connection" must be a URL, ioredis options/],
    [
      { url: 'redis://app:secret@h' },
      /option "connection" must be the URL itself, not in an object, saw \{"url":"redis:\/\/\*\*\*@h"\}/
    ],
    [{ db: 'x' }, /option "connection.db" must be an integer from 0 to \d+, saw "x"/],
    [{ db: -1 }, /connection.db/],
    [{ db: 1.5 }, /connection.db/],
    [{ db: '' }, /connection.db/],
    [{ role: 'slave' }, /option "connection.role" must be "master": a replica accepts no writes, saw "slave"/],
    [{ monitor: true }, /option "connection.monitor" must be false/],
    [{ keyPrefix: '{a}:' }, /option "connection.keyPrefix" must be a string without braces and white space/],
    [{ keyPrefix: 7 }, /connection.keyPrefix/],
    [{ sentinels: [], name: 'x' }, /option "connection.sentinels" must be a list with at least one Sentinel/],
    [{ sentinels: 'host' }, /connection.sentinels/],
    [{ sentinels: [{ host, port: 1 }] }, /option "connection.name" must be the name/],
    [{ cluster: [] }, /option "connection.cluster" must be a list with at least one node/],
    [{ cluster: 'redis://h' }, /connection.cluster/],
    [
      { cluster: [{ host, port: 1 }], redisOptions: { db: 1 } },
      /option "connection.redisOptions.db" must be 0: a cluster has one database, saw 1/
    ],
    [
      { cluster: [{ host, port: 1 }], redisOptions: { path: '/s' } },
      /option "connection.redisOptions.path" must be left out/
    ],
    [{ cluster: [{ host, port: 1 }], redisOptions: { sentinels: [] } }, /connection.redisOptions.sentinels/],
    [{ cluster: [{ host, port: 1 }], redisOptions: { keyPrefix: 'a b' } }, /connection.keyPrefix/]
  ]
  for (const [connection, message] of refused) {
    for (const [make, code] of [
      [() => new RedisLog({ connection: connection as never }), 'TOPICS_BAD_OPTION'],
      [() => new RedisTokenStore({ connection: connection as never }), 'FST_SSE_BAD_OPTION']
    ] as const) {
      try {
        make()
        t.fail(`${JSON.stringify(connection)} is rejected`)
      } catch (error) {
        t.match(error, { code, message }, JSON.stringify(connection))
        t.notMatch((error as Error).message, /secret|50%off|sec\/ret/)
      }
    }
  }
})

t.test('an option that is undefined counts as not given', async t => {
  const connection = `redis://${host}:1`
  t.doesNotThrow(() => new RedisLog({
    connection,
    prefix: undefined,
    retention: undefined,
    commandTimeoutMs: undefined,
    canaryMs: undefined,
    replicas: undefined,
    replicasTimeoutMs: undefined
  } as unknown as RedisLogOptions))
  t.doesNotThrow(() => new RedisTokenStore({ connection, prefix: undefined, commandTimeoutMs: undefined } as never))
  t.throws(() => new RedisLog({ connection: undefined } as never), { code: 'TOPICS_BAD_OPTION' })
})

/** What a program sees of a topic: everything that the shape of a reply could change. */
async function useLog (t: Test, connection: RedisLogOptions['connection']): Promise<unknown> {
  const log = new RedisLog({ connection, prefix: `${Math.random()}:`.replace('0.', ''), canaryMs: 200 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  const recorder = new Recorder()
  // A cluster finds its nodes a moment later.
  await until(() => log.follow('a', recorder).then(() => true, () => false))
  const { ids } = await log.append('a', [...newEvents(2), { data: 'r', event: 'e', retry: 5 }], { idempotencyKey: 'k' })
  const again = await log.append('a', [...newEvents(2), { data: 'r', event: 'e', retry: 5 }], { idempotencyKey: 'k' })
  await until(() => recorder.entries.length === 3)
  await log.close('a')
  await until(() => recorder.closed > 0)
  const { ends, exists } = await log.locate('a', ids[1]!)
  const page = await log.read('a', ORIGIN, ALL)
  return {
    numbers: ids.map(({ n }) => n),
    isRepeat: again.isRepeat,
    exists,
    count: ends.count,
    isClosed: ends.isClosed,
    last: ends.last.n,
    isBorn: typeof ends.bornMs,
    page: page.map(({ data, event, retry }) => ({ data, event, retry })),
    resyncs: recorder.resyncs,
    isHealthy: log.isHealthy
  }
}

const EXPECTED = {
  numbers: [1, 2, 3],
  isRepeat: true,
  exists: true,
  count: 3,
  isClosed: true,
  last: 3,
  isBorn: 'number',
  resyncs: 0,
  isHealthy: true,
  page: [{ data: 'e1', event: undefined, retry: undefined }, {
    data: 'e2', event: undefined, retry: undefined
  }, { data: 'r', event: 'e', retry: 5 }]
}

/** Options that change replies, retries, queues or the handshake of ioredis. */
const OPTIONS: Record<string, object> = {
  stringNumbers: { stringNumbers: true },
  replyMapping: { protocol: 3, replyMapping: 'resp3' },
  protocol: { protocol: 3 },
  keyPrefix: { keyPrefix: 'app:' },
  queues: { enableOfflineQueue: true, autoResendUnfulfilledCommands: true, maxRetriesPerRequest: null },
  retries: { retryStrategy: null, reconnectOnError: () => 2 },
  limits: { commandTimeout: 1, connectTimeout: 1, disconnectTimeout: 0, socketTimeout: 10_000 },
  pipelining: { enableAutoPipelining: true, autoPipeliningIgnoredCommands: ['evalsha'] },
  handshake: { enableReadyCheck: false, connectionName: 'app', disableClientInfo: true, readOnly: true },
  subscribing: { autoResubscribe: true },
  connecting: { lazyConnect: false, noDelay: false, keepAlive: 1, family: 4 }
}

// With stringNumbers each resume was a false gap, and a closed topic never ended; with a keyPrefix a log on a
// cluster received no messages.
t.test('options of ioredis do not change what a log guarantees', async t => {
  const server = await RedisServer.start(t)
  for (const [name, options] of Object.entries(OPTIONS)) {
    t.test(name, async t => t.same(await useLog(t, { host, port: server.port, ...options }), EXPECTED))
  }
  t.test(
    'in the query of a URL',
    async t => t.same(await useLog(t, `${server.url}/2?stringNumbers=true&keyPrefix=q:`), EXPECTED)
  )
})

t.test('options of ioredis do not change what a log guarantees on a cluster', async t => {
  const servers = await startCluster(t)
  const cluster = servers.slice(0, 3).map(({ port }) => ({ host, port }))
  for (const [name, redisOptions] of Object.entries(OPTIONS)) {
    t.test(name, async t => t.match(await useLog(t, { cluster, redisOptions: redisOptions as object }), {
      ...EXPECTED, resyncs: Number, isHealthy: Boolean
    }))
  }
  t.test('nodes by URL', async t => t.match(
    await useLog(t, { cluster: cluster.map(({ port }) => `redis://${host}:${port}`) }),
    { ...EXPECTED, resyncs: Number, isHealthy: Boolean }
  ))
})

t.test('a token store accepts the keyPrefix, the database and the options of a client', async t => {
  const server = await RedisServer.start(t)
  const client = new Redis({
    host, port: server.port, db: 3, keyPrefix: 'app:', stringNumbers: true, lazyConnect: true
  })
  const cluster = new Cluster([{ host, port: server.port }], { lazyConnect: true, keyPrefix: 'c:' })
  const inner = new Cluster([{ host, port: server.port }], { lazyConnect: true, redisOptions: { keyPrefix: 'd:' } })
  t.doesNotThrow(() => new RedisTokenStore({ connection: cluster }))
  t.doesNotThrow(() => new RedisTokenStore({ connection: inner }))
  t.throws(() => new RedisTokenStore({
    connection: new Cluster([{ host }], { lazyConnect: true, redisOptions: { keyPrefix: '{d}' } })
  }), /connection\.keyPrefix/)
  t.doesNotThrow(
    () => new RedisLog({ connection: { cluster: [{}, { host }, { port: 1 }, 7_000] } }),
    'nodes in every format of ioredis'
  )
  const store = new RedisTokenStore({ connection: client })
  t.teardown(() => store.stop())
  await store.start(() => {}, silentLogger)
  await store.revokeSubject('ann', 60_000)
  t.equal(typeof (await store.revokedSubjects()).get('ann'), 'number')
  t.same(await server.with(async client => { await client.select(3); return (await client.keys('*')).sort() }), [
    'app:sse:{revoked}:at', 'app:sse:{revoked}:until'
  ])
})

t.test('Redis can be reached over a socket', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'redis-socket-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 's')
  await RedisServer.start(t, { args: ['--unixsocket', path] })
  t.same(await useLog(t, { path }), EXPECTED)
  t.same(await useLog(t, path), EXPECTED)
  t.same(await useLog(t, `${path}?db=2`), EXPECTED)
})
