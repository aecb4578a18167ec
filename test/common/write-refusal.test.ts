import t from 'tap'
import { RedisTrouble } from '../../plugin/common/redis/redis-trouble.ts'
import { WriteRefusal } from '../../plugin/common/redis/write-refusal.ts'
import { ORIGIN } from '../../plugin/topics/ids/event-id.ts'
import type { LogLogger } from '../../plugin/topics/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { newEvents } from '../support/log-contract.ts'
import { until } from '../support/until.ts'
import { RedisServer } from '../support/redis/redis-server.ts'

interface Line { problem?: string, message: string }

function listen (): { lines: Line[], logger: LogLogger } {
  const lines: Line[] = []
  const write = (details: object, message: string): void => { lines.push({ ...details, message }) }
  return { lines, logger: { info: write, warn: write, error: write } }
}

// Regression: /readyz and the log reported nothing for a full Redis, and "the command connection was closed" for a
// replica, twice for each publish.
for (const [reason, begin, end] of [
  ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
  ['READONLY', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ['NOREPLICAS', ['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0']]
] as const) {
  t.test(`${reason}: the error that Redis returns for a write is the problem until writes succeed again, logged in one line`, async t => {
    const redis = await RedisServer.start(t)
    const { lines, logger } = listen()
    const log = new RedisLog({ connection: redis.url, canaryMs: 100 })
    await log.start(logger)
    t.teardown(() => log.stop())
    await log.append('a', newEvents(1))
    const call = (command: readonly string[]): Promise<unknown> =>
      redis.with(client => client.call(command[0]!, ...command.slice(1)))
    const append = async (topic: string): Promise<string | undefined> =>
      log.append(topic, newEvents(1)).then(() => undefined, (error: Error) => error.message)
    await call(begin)
    lines.length = 0
    for (let round = 0; round < 5; round++) {
      t.match(await append('a'), reason)
      t.match(log.health.problem, reason)
      // The connection to a replica is replaced; then reading works again.
      await until(
        async () => await log.locate('a', ORIGIN).then(({ ends }) => ends.count === 1, () => false) && log.isHealthy
      )
    }
    t.match(lines, [{ problem: new RegExp(`^${reason}`), message: 'redis: Redis rejects writes' }])
    await call(end)
    await until(async () => await append('a') === undefined)
    t.equal(log.health.problem, undefined)
    await until(() => lines.length > 1)
    t.match(lines.slice(1), [{ message: 'redis: all connections work again' }])
  })
}

// Regression: a key of the wrong type was reported as a server that rejects writes, which hid that the connection was
// lost.
t.test('an error of one key is not a problem, and the loss of the connection after it is one', async t => {
  const redis = await RedisServer.start(t)
  const { lines, logger } = listen()
  const log = new RedisLog({ connection: redis.url, canaryMs: 100 })
  await log.start(logger)
  t.teardown(() => log.stop())
  await log.append('a', newEvents(1))
  await redis.with(async client => {
    for (const key of await client.keys('*')) {
      await client.del(key)
      await client.set(key, 'text')
    }
  })
  await t.rejects(log.append('a', newEvents(1)), /WRONGTYPE/)
  t.equal(log.health.problem, undefined)
  t.same(lines, [])
  await redis.kill()
  await until(() => lines.length > 0)
  t.match(lines, [{ message: /; retrying$/ }])
})

t.test('another node of a cluster may accept writes: a rejection ends when the same key is written, or after a while', async t => {
  const trouble = new RedisTrouble('redis')
  trouble.start({ warn () {} })
  t.teardown(() => trouble.stop())
  const refusal = new WriteRefusal(trouble)
  refusal.end('a')
  refusal.begin('a', 'OOM')
  refusal.end('b')
  t.equal(trouble.problem, 'OOM')
  refusal.end('a')
  t.equal(trouble.problem, undefined)
  const short = new WriteRefusal(trouble, 1)
  short.begin('a', 'OOM')
  await until(() => trouble.problem === undefined)
})
