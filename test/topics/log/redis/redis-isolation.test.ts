import t from 'tap'
import type { Test } from 'tap'
import { RedisTokenStore } from '../../../../plugin/auth/one-time/redis-token-store.ts'
import type { StoreChange } from '../../../../plugin/auth/one-time/token-store.ts'
import type { RedisConnection } from '../../../../plugin/common/redis/redis-target.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { ALL, newEvents, Recorder } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { startCluster } from '../../../support/redis/redis-cluster.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

// Staging and production on one Redis, separated by the number of the database: Redis separates the keys of databases,
// but not messages. Regression: each received and delivered the other's events, and revocations in one ended streams of
// the other.

interface Place { connection: RedisConnection, prefix?: string }

async function startLog (t: Test, place: Place): Promise<RedisLog> {
  const log = new RedisLog({ ...place, canaryMs: 200 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await until(() => log.isHealthy)
  return log
}

async function startStore (t: Test, place: Place): Promise<{ store: RedisTokenStore, changes: StoreChange[] }> {
  const store = new RedisTokenStore(place)
  t.teardown(() => store.stop())
  const changes: StoreChange[] = []
  await store.start(change => changes.push(change), silentLogger)
  return { store, changes }
}

/** Two logs, neither of which may receive, deliver or resync anything because of the other. */
async function checkLogs (t: Test, one: Place, two: Place): Promise<void> {
  const [a, b] = [await startLog(t, one), await startLog(t, two)]
  const recorder = new Recorder()
  await b.follow('orders', recorder)
  await a.append('orders', newEvents(3, 'private '), { idempotencyKey: 'k' })
  await a.append('orders', [{ data: 'x'.repeat(100_000), event: undefined, retry: undefined }])
  await a.delete('orders')
  await a.close('orders')
  await b.append('orders', newEvents(1, 'own '), { idempotencyKey: 'k' })
  await until(() => recorder.entries.length > 0)
  t.same(recorder.entries.map(({ data }) => data), ['own 1'])
  t.same([recorder.closed, recorder.resyncs], [0, 0], 'nothing of the other one is received at all')
  t.equal((await b.read('orders', ORIGIN, ALL)).length, 1)
}

async function checkStores (t: Test, one: Place, two: Place): Promise<void> {
  const [a, b] = [await startStore(t, one), await startStore(t, two)]
  // A cluster's connection for messages is ready a moment later.
  for (const { store, changes } of [b, a]) {
    await until(async () => {
      await store.supersede('warm', 1)
      return changes.length > 0
    })
  }
  b.changes.length = 0
  await a.store.revokeSubject('ann', 60_000)
  await a.store.revokeSession('session')
  await a.store.supersede('session', 2)
  await b.store.supersede('own', 7)
  await until(() => b.changes.some(change => change.kind === 'superseded' && change.session === 'own'))
  t.same(b.changes.filter(change => change.kind !== 'superseded' || change.session !== 'warm'), [
    { kind: 'superseded', session: 'own', turn: 7 }
  ])
  t.same(await b.store.revokedSubjects(), new Map())
}

t.test('two services on one server receive nothing from each other', async t => {
  const server = await RedisServer.start(t)
  const at = (more: object): RedisConnection => ({ host: '127.0.0.1', port: server.port, ...more })
  const pairs: [string, Place, Place][] = [
    ['two databases, by URL', { connection: `${server.url}/0` }, { connection: `${server.url}/1` }],
    ['two databases, by option', { connection: at({ db: 2 }) }, { connection: at({ db: 3 }) }],
    ['the first database without a number', { connection: server.url, prefix: 'first:' }, {
      connection: `${server.url}/11`, prefix: 'first:'
    }],
    ['a database in the query of the URL', { connection: `${server.url}?db=4` }, { connection: `${server.url}?db=5` }],
    ['two keyPrefixes of ioredis', { connection: at({ keyPrefix: 'a:' }) }, { connection: at({ keyPrefix: 'b:' }) }],
    ['a keyPrefix in the query of the URL', { connection: `${server.url}?keyPrefix=c:` }, {
      connection: `${server.url}?keyPrefix=d:`
    }],
    ['two prefixes', { connection: server.url, prefix: 'one:' }, { connection: server.url, prefix: 'two:' }],
    ['a prefix that ends like the number of a database', { connection: `${server.url}/10`, prefix: 'x:' }, {
      connection: server.url, prefix: 'x:1'
    }],
    ['a prefix that contains the other', { connection: server.url, prefix: 'y' }, {
      connection: server.url, prefix: 'y:db1:'
    }]
  ]
  for (const [name, one, two] of pairs) {
    t.test(`topics: ${name}`, t => checkLogs(t, one, two))
    t.test(`tokens: ${name}`, t => checkStores(t, one, two))
  }
  t.test('a keyPrefix and the same prefix name the same keys and the same channels', async t => {
    const [one, two] = [
      await startLog(t, { connection: at({ keyPrefix: 'k:' }), prefix: 'sse:' }),
      await startLog(t, { connection: server.url, prefix: 'k:sse:' })
    ]
    const recorder = new Recorder()
    await one.follow('orders', recorder)
    await two.append('orders', newEvents(1))
    await until(() => recorder.entries.length === 1)
    t.equal((await one.read('orders', ORIGIN, ALL)).length, 1)
  })
})

t.test('two services on one cluster receive nothing from each other', async t => {
  const servers = await startCluster(t)
  const cluster = servers.slice(0, 3).map(({ port }) => ({ host: '127.0.0.1', port }))
  const pairs: [string, Place, Place][] = [
    ['two keyPrefixes of ioredis', { connection: { cluster, redisOptions: { keyPrefix: 'a:' } } }, {
      connection: { cluster, redisOptions: { keyPrefix: 'b:' } }
    }],
    ['two prefixes', { connection: { cluster }, prefix: 'one:' }, { connection: { cluster }, prefix: 'two:' }]
  ]
  for (const [name, one, two] of pairs) {
    t.test(`topics: ${name}`, t => checkLogs(t, one, two))
    t.test(`tokens: ${name}`, t => checkStores(t, one, two))
  }
})
