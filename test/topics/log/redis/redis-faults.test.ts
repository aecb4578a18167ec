import t from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { newEvents } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { stablePort } from '../../../support/network/ports.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'
import {
  COMMAND_TIMEOUT_MS,
  SHORT_COMMAND_TIMEOUT_MS,
  dataOf,
  gapIn,
  RedisApp,
  UNAVAILABLE
} from '../../../support/redis/redis-app.ts'
import { buildTopicsApp } from '../../../support/apps/topics-app.ts'

// The titles start like the rows of docs/faults.md. An unhandled rejection fails the file.

t.test('Redis killed and started again: streams stay, and receive everything once and in order', async t => {
  const redis = await RedisApp.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const stream = await redis.connect('a')
  const ids = await redis.publish('a', '1', '2')
  await redis.server.kill()
  await t.rejects(redis.publish('a', 'refused'), UNAVAILABLE)
  await until(() => !redis.log.isHealthy)
  const early = redis.connect('a', ids[0])
  await redis.server.start()
  await redis.publishAtLast('a', '3')
  t.same(dataOf(await stream.next(4)), ['stream.open', '1', '2', '3'])
  const again = (await early).statusCode === 200 ? await redis.connect('a', ids[0]) : await early
  t.same(
    dataOf(await again.next(3)),
    ['stream.open', '2', '3'],
    'numbers jump with the new replication id, and no gap is reported'
  )
  stream.close()
  again.close()
})

t.test('Redis paused: publishes fail after the command timeout, and are still stored exactly once', async t => {
  const redis = await RedisApp.start(t, { log: { commandTimeoutMs: SHORT_COMMAND_TIMEOUT_MS } })
  const stream = await redis.connect('a')
  await redis.publishAtLast('a', '1')
  redis.server.pause()
  const { publish } = redis.app.topics
  await t.rejects(publish('a', { data: '2' }, { idempotencyKey: '2' }), { ...UNAVAILABLE, message: /timed out/i })
  redis.server.unpause()
  await redis.publishAtLast('a', '2')
  await redis.publishAtLast('a', '3')
  t.same(dataOf(await stream.next(4)), ['stream.open', '1', '2', '3'])
  stream.close()
})

t.test('Connections cut: events published meanwhile are received', async t => {
  const redis = await RedisApp.start(t)
  const other = new RedisLog({ connection: redis.server.url })
  await other.start(silentLogger)
  t.teardown(() => other.stop())
  const stream = await redis.connect('a')
  for (let round = 0; round < 5; round++) {
    redis.proxy.cut()
    await other.append('a', newEvents(3, `${round}-`))
  }
  const wanted = [0, 1, 2, 3, 4].flatMap(round => [1, 2, 3].map(at => `${round}-${at}`))
  t.same(dataOf(await stream.next(16)), ['stream.open', ...wanted])
  stream.close()
})

t.test('Connections refused: streams stay open, new ones are asked to retry later', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const [id] = await redis.publish('a', '1')
  redis.proxy.down()
  await t.rejects(redis.publish('a', 'refused'), UNAVAILABLE)
  const refused = await redis.connect('b')
  t.same([refused.statusCode, (await refused.end()).length], [200, 0], 'an empty stream')
  t.type(refused.retryMs, 'number')
  redis.proxy.up()
  await redis.publishAtLast('a', '2')
  t.same(dataOf(await stream.next(3)), ['stream.open', '1', '2'])
  t.same(dataOf(await (await redis.connect('a', id)).next(2)), ['stream.open', '2'])
})

t.test('Network silent: nothing hangs longer than the command timeout, and the silence is detected', async t => {
  const redis = await RedisApp.start(t, { log: { commandTimeoutMs: SHORT_COMMAND_TIMEOUT_MS } })
  const stream = await redis.connect('a')
  await redis.publishAtLast('a', '1')
  redis.proxy.silence()
  const results = await Promise.allSettled([
    redis.publish('a', '2'), redis.app.topics.info('a'), redis.app.topics.close('b')
  ])
  for (const result of results) t.match(result, { status: 'rejected', reason: UNAVAILABLE })
  await until(() => !redis.log.isHealthy)
  redis.proxy.unsilence()
  await redis.publishAtLast('a', '3')
  const events = await stream.next(3)
  if (events.at(-1)?.data === '2') events.push(...await stream.next())
  t.equal(events.at(-1)?.data, '3', 'the publish that timed out may have been stored')
  stream.close()
})

// Regression: a page that had been read from 0-0 a moment before was delivered again, because 0-0 precedes the first
// event of either life.
t.test('FLUSHALL: readers receive a gap "expired" and continue', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const ids = await redis.publish('a', '1', '2', '3')
  t.same(dataOf(await stream.next(4)), ['stream.open', '1', '2', '3'])
  t.same(dataOf(await (await redis.connect('a', '0-0')).next(4)), ['stream.open', '1', '2', '3'])
  await redis.server.with(client => client.flushall())
  const away = await redis.connect('a', ids[1])
  t.match(gapIn(await away.next(2)), { topic: 'a', reason: 'expired', after: ids[1], resumedAt: null })
  const [born] = await redis.publish('a', 'new')
  t.match(born, /-1$/, 'the numbers start again')
  const live = await stream.next(2)
  t.same(dataOf(live), ['stream.gap', 'new'])
  t.match(gapIn(live), { topic: 'a', reason: 'expired', after: ids[2] })
  t.same(dataOf(await away.next()), ['new'])
  const late = await (await redis.connect('a', ids[2])).next(3)
  t.same(dataOf(late), ['stream.open', 'stream.gap', 'new'])
  t.match(gapIn(late), { reason: 'expired', resumedAt: born })
})

t.test('Stream key deleted: a client that has read everything continues, any other receives a gap with the number', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const ids = await redis.publish('a', '1', '2', '3')
  await redis.server.with(client => client.del('sse:{a}:log'))
  const [id] = await redis.publish('a', '4')
  t.match(id, /-4$/, 'the numbers are stored separately from the stream')
  t.same(dataOf(await stream.next(5)), ['stream.open', '1', '2', '3', '4'])
  t.same(dataOf(await (await redis.connect('a', ids[2])).next(2)), ['stream.open', '4'])
  const behind = await (await redis.connect('a', ids[0])).next(3)
  t.match(gapIn(behind), { reason: 'trimmed', missed: 2, after: ids[0], resumedAt: id })
  t.equal(behind[2]?.data, '4')
  stream.close()
})

t.test('Memory full: publishes are rejected completely, streams stay, and publishes work again when there is room', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const [id] = await redis.publish('a', '1')
  const configure = (maxmemory: string) => redis.server.with(client => client.config('SET', 'maxmemory', maxmemory))
  await configure('1')
  const { publish, close, info } = redis.app.topics
  await t.rejects(publish('a', { data: '2' }), { ...UNAVAILABLE, message: /OOM/ })
  await t.rejects(publish('a', newEvents(50), { idempotencyKey: 'batch' }), UNAVAILABLE)
  await t.rejects(close('a'), UNAVAILABLE)
  t.match(await info('a'), { last: id, count: 1, isClosed: false })
  t.same(dataOf(await (await redis.connect('a', id)).next()), ['stream.open'], 'clients can still connect')
  await configure('0')
  t.match(await publish('a', newEvents(2).map(({ data }) => ({ data })), { idempotencyKey: 'batch' }), {
    isRepeat: false
  })
  t.same(dataOf(await stream.next(4)), ['stream.open', '1', 'e1', 'e2'])
  stream.close()
})

t.test('Redis unavailable at the start: the app starts, rejects calls, and works when Redis is available', async t => {
  const port = await stablePort()
  const log = new RedisLog({
    connection: { host: '127.0.0.1', port }, commandTimeoutMs: COMMAND_TIMEOUT_MS, canaryMs: 50
  })
  const app = await buildTopicsApp(t, { log })
  await t.rejects(app.topics.publish('a', { data: 'early' }), UNAVAILABLE)
  await t.rejects(app.topics.info('a'), UNAVAILABLE)
  await RedisServer.start(t, { port })
  await until(() => log.isHealthy)
  t.match(await app.topics.publish('a', { data: '1' }), { ids: [/-1$/] })
})

t.test('Master made a replica: publishes are rejected until there is a master again', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  await redis.publish('a', '1')
  await redis.server.with(client => client.replicaof('127.0.0.1', '1'))
  for (let round = 0; round < 3; round++) await t.rejects(redis.publish('a', 'refused'), UNAVAILABLE)
  await redis.server.with(client => client.replicaof('NO', 'ONE'))
  await redis.publishAtLast('a', '2')
  t.same(dataOf(await stream.next(3)), ['stream.open', '1', '2'])
  stream.close()
})

t.test('calls after the stop are rejected, and a second stop does nothing', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url })
  await log.stop()
  await t.rejects(log.append('a', newEvents(1)), UNAVAILABLE)
  const used = new RedisLog({ connection: server.url })
  await used.start(silentLogger)
  await used.stop()
  await used.stop()
  await t.rejects(used.append('a', newEvents(1)), { ...UNAVAILABLE, mayBeDone: false, message: /nothing was sent/ })
  await t.rejects(used.follow('a', { onEntries () {}, onClosed () {}, onResync () {}, onStop () {} }), UNAVAILABLE)
})

t.test('checkWrites() finds out whether a publish would be accepted', async t => {
  const redis = await RedisServer.start(t)
  const log = new RedisLog({ connection: redis.url, replicasTimeoutMs: 10 })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  await log.checkWrites()
  await redis.with(async client => {
    await client.config('SET', 'maxmemory', '1mb')
    await t.rejects(log.checkWrites(), { ...UNAVAILABLE, message: /OOM/ })
    await client.config('SET', 'maxmemory', '0')
    t.same(await client.keys('*'), [])
  })
})
