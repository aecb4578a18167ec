import t from 'tap'
import type { Test } from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { newEvents } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { COMMAND_TIMEOUT_MS, dataOf, gapIn, RedisApp, UNAVAILABLE } from '../../../support/redis/redis-app.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

// Redis rejects writes and answers reads.

const LOG = 'sse:{a}:log'

async function startLog (t: Test, server: RedisServer, retention: object): Promise<RedisLog> {
  const log = new RedisLog({
    connection: server.url, retention: [{ topics: '*', ...retention }], commandTimeoutMs: COMMAND_TIMEOUT_MS
  })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await until(() => log.isHealthy)
  return log
}

// Regression: every read of a topic failed, because the first one after a restart or a failover stored the new
// replication id, and each one removed old events.
for (const [code, setting, value] of [['OOM', 'maxmemory', '1'], ['NOREPLICAS', 'min-replicas-to-write', '1']] as const) {
  t.test(`${code}: after a restart or a failover of Redis, clients still read what the log has`, async t => {
    const retention = [{ topics: '*', maxAgeMs: 3_600_000 }]
    const redis = await RedisApp.start(t, { args: ['--enable-debug-command', 'local'], log: { retention } })
    const [first, last] = await redis.publish('a', '1', '2')
    const configure = (to: string) => redis.server.with(client => client.config('SET', setting, to))
    await configure(value)
    await redis.server.with(client => client.call('DEBUG', 'CHANGE-REPL-ID'))
    const unavailable = { ...UNAVAILABLE, message: new RegExp(code) }
    await t.rejects(redis.publish('a', 'refused'), unavailable)
    const take = { do: 'take', holder: 'h', leaseMs: 60_000, takeOver: false } as const
    await t.rejects(redis.log.lease('a', take), unavailable)
    const resumed = await redis.connect('a', first)
    t.same(dataOf(await resumed.next(2)), ['stream.open', '2'])
    const ahead = await redis.connect('a', last!.replace(/-2$/, '-9'))
    t.match(gapIn(await ahead.next(2)), { reason: 'fork' })
    await configure('0')
    await redis.publishAtLast('a', '3')
    t.same(dataOf(await resumed.next(1)), ['3'])
    t.same(dataOf(await ahead.next(1)), ['3'])
  })
}

// Regression: only a successful publish removed events, so memory that was full stayed full, whatever the retention.
t.test('OOM: a publish that is rejected removes what the retention no longer keeps', async t => {
  const server = await RedisServer.start(t)
  const before = await startLog(t, server, { maxEvents: 100 })
  const fewer = await startLog(t, server, { maxEvents: 5 })
  const shorter = await startLog(t, server, { maxAgeMs: 1 })
  await before.append('a', newEvents(20))
  await server.with(client => client.config('SET', 'maxmemory', '1'))
  const left = (): Promise<number> => server.with(client => client.xlen(LOG))
  const unavailable = { ...UNAVAILABLE, message: /OOM/ }
  await t.rejects(before.append('a', newEvents(2)), unavailable)
  t.equal(await left(), 20)
  await t.rejects(fewer.append('a', newEvents(2)), unavailable)
  t.equal(await left(), 5)
  await until(async () => {
    await t.rejects(shorter.append('a', newEvents(2)), unavailable)
    return await left() === 0
  })
})
