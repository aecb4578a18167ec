import t from 'tap'
import type { Test } from 'tap'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { newEvents, readAll } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

const LOG = 'sse:{a}:log'
const META = 'sse:{a}:meta'
/** PTTL of a key that does not expire. */
const FOREVER = -1

async function startLog (t: Test, server: RedisServer, expireAfterMs: number): Promise<RedisLog> {
  const log = new RedisLog({
    connection: server.url, retention: [{ topics: '*', expireAfterMs }], commandTimeoutMs: 60_000
  })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await until(() => log.isHealthy)
  return log
}

function lifetimes (server: RedisServer): Promise<number[]> {
  return server.with(async client => [await client.pttl(LOG), await client.pttl(META)])
}

async function numbers (log: RedisLog): Promise<number[]> {
  return (await readAll(log, 'a')).map(({ id }) => id.n)
}

// Regression: the keys kept the expiry of the earlier retention, so that the events of a topic in use were gone when it
// had passed.
for (const [what, use] of [
  ['append', log => log.append('a', newEvents(1))],
  ['close', log => log.close('a')],
  ['lease', log => log.lease('a', { do: 'take', holder: 'h', leaseMs: 60_000, takeOver: false })]
] as [string, (log: RedisLog) => Promise<unknown>][]) {
  t.test(`a topic with an expiry is kept without one after its next ${what} when retention is changed to 0`, async t => {
    const server = await RedisServer.start(t)
    await (await startLog(t, server, 600_000)).append('a', newEvents(2))
    t.ok((await lifetimes(server)).every(ms => ms > 0))
    const log = await startLog(t, server, 0)
    await use(log)
    t.same(await lifetimes(server), [FOREVER, FOREVER])
    await (await startLog(t, server, 600_000)).lease('a', { do: 'take', holder: 'i', leaseMs: 60_000, takeOver: true })
    if (what !== 'close') t.ok((await lifetimes(server)).every(ms => ms > 0), 'and back')
  })
}

// Regression: the state of a topic that was forgotten after a producer's ttlMs kept its expiry in the next life, and
// the events had none: a day later the numbers started again, although the events were still there.
for (const what of ['append', 'close'] as const) {
  t.test(`a topic that was forgotten after a producer's ttlMs is kept from the next ${what} when topics do not expire`, async t => {
    const server = await RedisServer.start(t)
    const log = await startLog(t, server, 0)
    const take = { do: 'take', holder: 'h', leaseMs: 1_000, takeOver: false, ttlMs: 1_000 } as const
    const { fence } = await log.lease('a', take)
    await log.append('a', newEvents(2), { lease: { fence, accepted: 0 } })
    t.ok((await lifetimes(server)).every(ms => ms > 0), 'a ttlMs applies when retention says 0')
    await until(async () => (await log.locate('a', ORIGIN)).ends.last.n === 0)
    const [, meta] = await lifetimes(server)
    t.ok(meta! > 0, 'what is remembered of the topic expires')
    if (what === 'append') await log.append('a', newEvents(1))
    else await log.close('a')
    t.same((await lifetimes(server))[1], FOREVER)
    t.same(await numbers(log), what === 'append' ? [1] : [])
  })
}
