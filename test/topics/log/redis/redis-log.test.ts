import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { newEvents, readAll, testLogContract } from '../../../support/log-contract.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

t.test('the Redis log satisfies the contract', async t => {
  const server = await RedisServer.start(t)
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({
      connection: server.url, prefix: `${randomUUID()}:`, retention, commandTimeoutMs: 60_000
    })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})

// Regression: an exception while ioredis queues a command shifts the answers of everything queued in the same tick by
// one: each of the other publishers was then acknowledged with the id of another one's event, and the last one waited
// indefinitely.
t.test('an append that cannot be sent fails without affecting others', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  for (const topic of ['a', 'b', 'c']) await log.append(topic, newEvents(topic === 'a' ? 10 : topic === 'b' ? 20 : 30))
  const odd = Object.assign(Object.create(null), { length: 1 }) as string
  const results = await Promise.allSettled([
    log.append('a', newEvents(1)), log.append(
      'b',
      [{ event: undefined, data: odd, retry: undefined }]
    ), log.append('b', newEvents(1)), log.append('c', newEvents(1))
  ])
  t.same(results.map(result => result.status === 'fulfilled' ? result.value.ids[0]?.n : 'failed'), [
    11, 'failed', 21, 31
  ])
})

// Regression: idleness was measured by the clock of the script, but the stream expired by the clock of Redis: in the
// last millisecond a topic could be forgotten while its entries still existed, and they reappeared with the next
// append.
for (const [name, act] of [
  ['a lookup', (log: RedisLog) => log.locate('a', ORIGIN)],
  ['an append', (log: RedisLog) => log.append('a', newEvents(1))],
  ['a close', (log: RedisLog) => log.close('a')]
] as const) {
  t.test(`a topic is forgotten together with its events: ${name}`, async t => {
    const server = await RedisServer.start(t)
    const log = new RedisLog({
      connection: server.url,
      prefix: 'p:',
      retention: [{ topics: 'a', expireAfterMs: 60_000 }],
      commandTimeoutMs: 60_000
    })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    await log.append('a', newEvents(3))
    await server.with(client => client.hset('p:{a}:meta', 'touched', String(Date.now() - 60_000)))
    await act(log)
    const events = await readAll(log, 'a')
    t.same(events.map(({ id }) => id.n), name === 'an append' ? [1] : [])
  })
}
