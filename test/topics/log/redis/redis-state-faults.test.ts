import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../../../plugin/testing/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { newEvents, readAll } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { COMMAND_TIMEOUT_MS, dataOf, gapIn, RedisApp } from '../../../support/redis/redis-app.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

// The keys of a topic contradict each other: another program deleted one of them or a part of it, or a write was torn.

const LOG = 'sse:{a}:log'
const META = 'sse:{a}:meta'

async function startLog (t: Test, server: RedisServer): Promise<RedisLog> {
  const log = new RedisLog({
    connection: server.url, retention: [{ topics: '*', expireAfterMs: 0 }], commandTimeoutMs: COMMAND_TIMEOUT_MS
  })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await until(() => log.isHealthy)
  return log
}

async function numbers (log: RedisLog): Promise<number[]> {
  return (await readAll(log, 'a')).map(({ id }) => id.n)
}

// Regression: the numbers started at 1 while entries with the same numbers were still there. Open streams received
// nothing more, and new clients the same gap again and again, as fast as they could read.
t.test('State key deleted: the entries go too, and each client gets one gap and then the new events', async t => {
  const redis = await RedisApp.start(t, { log: { retention: [{ topics: '*', expireAfterMs: 0 }] } })
  const live = await redis.connect('a')
  const ids = await redis.publish('a', '1', '2', '3')
  await live.next(4)
  await redis.server.with(client => client.del(META))
  const fresh = await injectSse(redis.app, '/events?topic=a&last=10')
  const late = await redis.connect('a', ids[1])
  const [next] = await redis.publish('a', 'new 1')
  await redis.publish('a', 'new 2')
  t.same(dataOf(await live.next(3)), ['stream.gap', 'new 1', 'new 2'])
  t.match(gapIn(live.events), { reason: 'expired', after: ids[2] })
  t.match(gapIn(await late.next(4)), { reason: 'expired', after: ids[1] })
  t.same(dataOf(late.events), ['stream.open', 'stream.gap', 'new 1', 'new 2'])
  t.same(dataOf(await fresh.next(4)), ['stream.open', 'stream.gap', 'new 1', 'new 2'])
  t.match(next, /-1$/)
  t.ok(Number(next!.split('-')[0]) > Number(ids[2]!.split('-')[0]), 'ids do not go back')
  t.same(await numbers(redis.log), [1, 2])
})

for (const [what, prepare, remembers] of [
  ['nothing is known of the topic', async () => {}, true],
  ['it has a producer', log => log.lease('a', { do: 'take', holder: 'h', leaseMs: 60_000, takeOver: false }), false]
] as [string, (log: RedisLog) => Promise<unknown>, boolean][]) {
  t.test(`entries without a number are removed by the first call, those of other programs apart: ${what}`, async t => {
    const server = await RedisServer.start(t)
    const log = await startLog(t, server)
    await prepare(log)
    await server.with(async client => {
      await client.xadd(LOG, '1000-0', 'by', 'hand')
      t.equal((await log.locate('a', ORIGIN)).ends.forgottenMs, 0)
      t.equal(await client.xlen(LOG), 1, 'without entries of ours, those of other programs stay')
      await client.xadd(LOG, '2000-7', 'data', 'torn')
      await client.xadd(LOG, '3000-0', 'by', 'hand')
    })
    t.match((await log.locate('a', ORIGIN)).ends, { first: undefined, count: 0, last: ORIGIN, forgottenMs: 2_001 })
    t.equal(await server.with(client => client.pttl(META)) > 0, remembers, 'only what is remembered expires')
    if (!remembers) t.match(await log.lease('a', { do: 'look' }), { outcome: 'ok', holder: 'h' })
    t.same((await log.append('a', newEvents(1))).ids.map(id => id.n), [1])
    t.same(await numbers(log), [1])
  })
}

t.test('entries from before the life of a topic are removed when it is looked up', async t => {
  const server = await RedisServer.start(t)
  const log = await startLog(t, server)
  await server.with(async client => {
    await client.xadd(LOG, '1000-1', 'data', 'old')
    await client.xadd(LOG, '2000-1', 'data', 'new')
    await client.hset(META, { n: 1, ms: 2_000, born: 2_000, touched: 2_000 })
  })
  t.match((await log.locate('a', ORIGIN)).ends, { first: { ms: 2_000, n: 1 }, count: 1 })
  t.same((await readAll(log, 'a')).map(({ data }) => data), ['new'])
})

// Regression: the follower compared without end, and its clients received nothing more.
t.test('Entries deleted from a stream: open streams get one gap and continue', async t => {
  const redis = await RedisApp.start(t)
  const live = await redis.connect('a')
  const [, second] = await redis.publish('a', '1', '2')
  await live.next(3)
  const [ms] = second!.split('-')
  await redis.server.with(async client => {
    await client.multi().xadd(LOG, `${ms}-4`, 'data', '4').hset(META, { n: 4, ms: ms! }).exec()
  })
  await redis.publish('a', '5')
  t.same(dataOf(await live.next(3)), ['stream.gap', '4', '5'])
  t.same(gapIn(live.events), { topic: 'a', reason: 'unknown', after: second, resumedAt: `${ms}-4` })
})

t.test('Entries deleted from a stream: the same if nothing follows them', async t => {
  const redis = await RedisApp.start(t)
  const live = await redis.connect('a')
  const [, second] = await redis.publish('a', '1', '2')
  await live.next(3)
  await redis.server.with(async client => {
    await client.hset(META, { n: 4 })
    await client.publish('sse:{a}:db0', 'D\n')
  })
  t.same(dataOf(await live.next()), ['stream.gap'])
  t.same(gapIn(live.events), { topic: 'a', reason: 'unknown', after: second, resumedAt: null })
  await redis.publish('a', '5')
  t.same(dataOf(await live.next()), ['5'])
})
