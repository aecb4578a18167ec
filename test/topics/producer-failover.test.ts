import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { deferred } from '../../plugin/common/deferred.ts'
import sse from '../../plugin/index.ts'
import topics from '../../plugin/topics/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { until } from '../support/until.ts'
import { listen } from '../support/apps/app.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'

interface Stage { app: FastifyInstance, proxy: TcpProxy, failOver: () => void }

/**
 * Two servers that know nothing of each other: with the failover everything is lost, as with a replica that was cut off
 * before.
 */
async function startStage (t: Test): Promise<Stage> {
  const servers = [await RedisServer.start(t), await RedisServer.start(t)]
  const proxy = await TcpProxy.start(t, servers[0]!.port)
  const app = Fastify()
  await app.register(sse)
  await app.register(topics, { log: new RedisLog({ connection: proxy.url, prefix: `${randomUUID()}:` }) })
  t.teardown(() => app.close())
  // What waits in a producer does not keep a process alive; a server does.
  await listen(app)
  return { app, proxy, failOver: () => { proxy.lead(servers[1]!.port) } }
}

const dataOf = async (app: FastifyInstance): Promise<string[]> =>
  (await app.topics.read('a', { limit: 100 })).events.map(({ data }) => data)

t.test('a producer whose lease was lost in a failover continues, and its topic ends as it does', async t => {
  const { app, failOver } = await startStage(t)
  const [gone, over] = [deferred(), deferred()]
  const source = async function * (): AsyncGenerator<string> {
    yield 'one'
    await gone.promise
    yield 'two'
    await over.promise
  }
  const producer = await app.topics.produce('a', source(), { batchMs: 0, ttlMs: 600_000 })
  await until(() => producer.accepted === 1)
  failOver()
  gone.settle()
  await until(() => producer.accepted === 2)
  t.match(await app.topics.producer('a'), { state: 'live', lease: producer.lease, accepted: 2 })
  over.settle()
  t.same(await producer.done, { reason: 'done' })
  t.same(await dataOf(app), ['two'])
  t.match(await app.topics.producer('a'), { state: 'done', accepted: 2 })
})

t.test('a silent producer restores its lease with the next renewal, and a finished one with its end', async t => {
  const { app, failOver } = await startStage(t)
  const over = deferred()
  const source = async function * (): AsyncGenerator<string> {
    yield 'one'
    await over.promise
  }
  const silent = await app.topics.produce('a', source(), { batchMs: 0, leaseMs: 60_000 })
  const ending = await app.topics.produce('b', source(), { batchMs: 0, leaseMs: 3_600_000 })
  await until(() => silent.accepted + ending.accepted === 2)
  failOver()
  await until(async () => (await app.topics.producer('a').catch(() => undefined))?.lease === silent.lease)
  over.settle()
  t.same([await silent.done, await ending.done], [{ reason: 'done' }, { reason: 'done' }])
})

t.test('a lease that may have expired by the time of the failover is not restored', async t => {
  const { app, proxy, failOver } = await startStage(t)
  const gone = deferred()
  const source = async function * (): AsyncGenerator<string> {
    yield 'one'
    await gone.promise
    yield 'two'
  }
  const producer = await app.topics.produce('a', source(), { batchMs: 0, leaseMs: 1_000 })
  await until(() => producer.accepted === 1)
  proxy.down()
  const since = performance.now()
  await until(() => performance.now() - since > 1_100)
  failOver()
  proxy.up()
  gone.settle()
  t.same(await producer.done, { reason: 'superseded' })
  t.same(await dataOf(app), [])
})
