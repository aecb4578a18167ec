import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../topics/index.ts'
import { newEvents, testLogContract } from '../support/log-contract.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { silentLogger } from '../support/redis-server.ts'

t.test('the Redis log keeps the contract on a cluster', async t => {
  const servers = await startCluster(t)
  const connection = { cluster: servers.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port })) }
  t.test('a publish waits for the replicas of the node that has the topic', async t => {
    for (const [replicas, isEnough] of [[1, true], [2, false]] as const) {
      const log = new RedisLog({ connection, replicas, replicasTimeoutMs: 200 })
      t.teardown(() => log.stop())
      await log.start(silentLogger)
      for (const topic of ['a', 'b', 'c', 'd', 'e', 'f']) {
        if (isEnough) await log.append(topic, newEvents(1))
        else await t.rejects(log.append(topic, newEvents(1)), { code: 'TOPICS_LOG_UNAVAILABLE', message: /reached 1 of 2 replicas/ })
      }
    }
  })
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({ connection, prefix: `${randomUUID()}:`, retention })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})
