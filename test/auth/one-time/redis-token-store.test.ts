import { randomUUID } from 'node:crypto'
import { Cluster, Redis } from 'ioredis'
import t from 'tap'
import { RedisTokenStore } from '../../../plugin/auth/one-time/redis-token-store.ts'
import type { RedisTokenStoreOptions } from '../../../plugin/auth/one-time/redis-token-store.ts'
import type { Test } from 'tap'
import { until } from '../../support/until.ts'
import { startCluster } from '../../support/redis/redis-cluster.ts'
import { MASTER_NAME, SentinelGroup } from '../../support/redis/redis-sentinel.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { stageRedisStore } from '../../support/redis/redis-token-stage.ts'
import { testTokenStoreContract } from '../../support/auth/token-store-contract.ts'
import type { StoreStage } from '../../support/auth/token-store-contract.ts'

t.test('the Redis store satisfies the contract', async t => {
  const server = await RedisServer.start(t)
  testTokenStoreContract(
    t,
    t => stageRedisStore(t, { connection: server.url, prefix: `${randomUUID()}:`, commandTimeoutMs: 60_000 }, [server])
  )
})

t.test('the Redis store satisfies the contract with client settings of the application', async t => {
  const server = await RedisServer.start(t)
  // Such a client would wait indefinitely; the store must not.
  const client = new Redis({ port: server.port, maxRetriesPerRequest: null, lazyConnect: true })
  t.teardown(() => { client.disconnect() })
  testTokenStoreContract(
    t,
    t => stageRedisStore(t, { connection: client, prefix: `${randomUUID()}:`, commandTimeoutMs: 60_000 }, [server])
  )
})

t.test('the Redis store satisfies the contract behind Sentinels', async t => {
  const group = await SentinelGroup.start(t)
  testTokenStoreContract(t, t => stageRedisStore(t, {
    connection: { sentinels: [...group.sentinels], name: MASTER_NAME },
    prefix: `${randomUUID()}:`,
    commandTimeoutMs: 60_000
  }, [group.servers[0]]))
})

t.test('the Redis store satisfies the contract on a cluster', async t => {
  const servers = await startCluster(t)
  const nodes = servers.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port }))
  const masters = servers.slice(0, 3)
  const stage = async (t: Test, connection: RedisTokenStoreOptions['connection']): Promise<StoreStage> => {
    const stage = await stageRedisStore(t, {
      connection, prefix: `${randomUUID()}:`, commandTimeoutMs: 60_000
    }, masters)
    await untilHeard(stage)
    return stage
  }
  testTokenStoreContract(t, t => stage(t, { cluster: nodes }))
  t.test('it also does so with client settings of the application', async t => {
    const client = new Cluster(nodes, { lazyConnect: true })
    t.teardown(() => { client.disconnect() })
    testTokenStoreContract(t, t => stage(t, client))
  })
})

/** Settles when announcements arrive. */
async function untilHeard ({ store, changes }: StoreStage): Promise<void> {
  for (let at = 0; changes.length === 0; at++) {
    await store.supersede('a', at)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  await store.supersede('a', 1_000_000)
  await until(() => changes.some(change => change.kind === 'superseded' && change.turn === 1_000_000))
  changes.length = 0
}

t.test('an invalid option is rejected with its name, its range and the value seen', async t => {
  const connection = 'redis://127.0.0.1:1'
  const refused: [object, RegExp][] = [
    [{}, /"connection" must be a URL, ioredis options, { cluster: nodes } or a client, saw undefined/],
    [{ connection: null }, /"connection" must be .*, saw null/],
    [{ connection, prefix: 'a{b' }, /"prefix" must be a string without braces and white space, saw "a{b"/],
    [{ connection, prefix: 7 }, /"prefix" must be .*, saw 7/],
    [{ connection, commandTimeoutMs: 0 }, /"commandTimeoutMs" must be an integer from 1 to 600000, saw 0/],
    [{ connection, commandTimeoutMs: 600_001 }, /saw 600001/],
    [{ connection, commandTimeoutMs: 1.5 }, /saw 1.5/],
    [{ connection, url: 1 }, /"url" must be one of connection, prefix, commandTimeoutMs, saw an unknown option/]
  ]
  for (const [options, message] of refused) {
    t.throws(() => new RedisTokenStore(options as never), { code: 'FST_SSE_BAD_OPTION', message })
  }
})
