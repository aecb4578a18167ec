import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../../../../plugin/topics/log/redis/index.ts'
import { newEvents, Recorder, testLogContract } from '../../../../support/log-contract.ts'
import { until } from '../../../../support/until.ts'
import { mastersOf, startCluster } from '../../../../support/redis/redis-cluster.ts'
import { silentLogger } from '../../../../support/redis/redis-server.ts'

t.test('the Redis log satisfies the contract on a cluster', async t => {
  const servers = await startCluster(t)
  const connection = { cluster: servers.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port })) }
  t.test('a publish waits for the replicas of the node that has the topic', async t => {
    const topics = ['a', 'b', 'c', 'd', 'e', 'f']
    const startLog = async (replicas: number, replicasTimeoutMs: number): Promise<RedisLog> => {
      const log = new RedisLog({ connection, replicas, replicasTimeoutMs, commandTimeoutMs: 60_000 })
      t.teardown(() => log.stop())
      await log.start(silentLogger)
      return log
    }
    const enough = await startLog(1, 60_000)
    for (const topic of topics) await enough.append(topic, newEvents(1))
    const tooFew = await startLog(2, 200)
    for (const topic of topics) {
      await t.rejects(tooFew.append(topic, newEvents(1)), {
        code: 'TOPICS_LOG_UNAVAILABLE', mayBeDone: true, message: /reached [01] of 2 replicas/
      })
    }
  })
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({ connection, prefix: `${randomUUID()}:`, retention, commandTimeoutMs: 60_000 })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})

t.test('the partial loss of a cluster is reported, and a topic on the lost part is rejected until it is back', async t => {
  const servers = await startCluster(t)
  const log = new RedisLog({
    connection: { cluster: servers.map(({ port }) => ({ host: '127.0.0.1', port })) },
    canaryMs: 500,
    commandTimeoutMs: 3_000
  })
  t.teardown(() => log.stop())
  t.same(log.health, { isHealthy: false, canaryAgeMs: Infinity, reconnects: 0, replaced: 0 }, 'before the start')
  await log.start(silentLogger)
  const topics = Array.from({ length: 12 }, (_, at) => `topic${at}`)
  for (const topic of topics) await log.follow(topic, new Recorder())
  await until(() => log.isHealthy)
  t.match(log.health, { canaryAgeMs: Number, reconnects: Number, replaced: Number })
  const { replaced } = log.health
  // All masters at once: no replica can take over, because no master is left to elect it.
  for (const server of await mastersOf(servers)) server.pause()
  await until(() => log.health.replaced > replaced)
  t.equal(log.isHealthy, false)
  const late = new Recorder()
  await t.rejects(log.follow('another', late), { code: 'TOPICS_LOG_UNAVAILABLE' })
  for (const server of servers) server.unpause()
  await until(async () => {
    try {
      await log.follow('another', late)
      return true
    } catch {
      return false
    }
  })
  await until(async () => log.isHealthy && (await Promise.allSettled(
    topics.map(topic => log.append(topic, newEvents(1)))
  )).every(({ status }) => status === 'fulfilled'))
})
