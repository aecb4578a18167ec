import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../../../plugin/testing/index.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { RedisLogOptions } from '../../../../plugin/topics/log/redis/index.ts'
import { ORIGIN, parseEventId } from '../../../../plugin/topics/ids/event-id.ts'
import { ALL, newEvent, newEvents, readAll, Recorder } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { follow } from '../../../support/model/redis-schedule.ts'
import { dataOf, gapIn, RedisApp, UNAVAILABLE } from '../../../support/redis/redis-app.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'
import { TcpProxy } from '../../../support/network/tcp-proxy.ts'

// The titles start like the rows of docs/faults.md. An unhandled rejection fails the file.

async function startLog (t: Test, options: RedisLogOptions): Promise<{ log: RedisLog, warnings: string[] }> {
  const warnings: string[] = []
  const log = new RedisLog(options)
  t.teardown(() => log.stop())
  await log.start({
    ...silentLogger, warn: (details, message) => { warnings.push(`${message} ${JSON.stringify(details)}`) }
  })
  await until(() => log.isHealthy)
  return { log, warnings }
}

t.test('Message connection killed: nothing is missed or repeated', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const published: string[] = []
  for (let round = 0; round < 10; round++) {
    await redis.server.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
    for (let at = 0; at < 5; at++) published.push(`${round} ${at}`)
    await redis.publish('a', ...published.slice(-5))
  }
  t.same(dataOf(await stream.next(51)), ['stream.open', ...published])
  stream.close()
})

// Regression: the first listener that threw prevented all later ones from being called, and the rejection ended the
// process.
t.test('a listener that throws does not keep others from being notified that the connection was lost', async t => {
  const server = await RedisServer.start(t)
  const errors: object[] = []
  const log = new RedisLog({ connection: server.url, canaryMs: 50 })
  t.teardown(() => log.stop())
  await log.start({ ...silentLogger, error: details => errors.push(details) })
  const recorder = new Recorder()
  await log.follow('a', { onEntries () {}, onClosed () {}, onStop () {}, onResync () { throw new Error('a fails') } })
  await log.follow('b', recorder)
  await server.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
  await until(() => recorder.resyncs > 0 && log.isHealthy)
  t.match(errors[0], { topic: 'a', err: { message: 'a fails' } })
})

t.test('Message connection dropped for being slow: readers receive the lost messages from the log', async t => {
  const redis = await RedisApp.start(t)
  await redis.server.with(client => client.config('SET', 'client-output-buffer-limit', 'pubsub 20000 0 0'))
  const stream = await redis.connect('a')
  const published = Array.from({ length: 20 }, (_, at) => `${at}-`.padEnd(60_000, 'x'))
  await redis.app.topics.publish('a', { data: 'small' })
  for (const data of published) await redis.publishAtLast('a', data)
  t.same(dataOf(await stream.next(22)), ['stream.open', 'small', ...published])
  stream.close()
})

t.test('Message connection receives nothing: it is detected by the probe and replaced', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log, warnings } = await startLog(t, { connection: proxy.url, canaryMs: 50 })
  const recorder = new Recorder()
  await log.follow('a', recorder)
  proxy.deafen('subscribe')
  await log.append('a', newEvents(1))
  await until(() => warnings.some(line => line.includes('receives no messages; replacing it')))
  await until(() => log.isHealthy)
  t.ok(recorder.resyncs > 0, 'the missed messages cause a comparison with the log')
  await log.append('a', newEvents(1, 'after'))
  await until(() => recorder.entries.some(entry => entry.data === 'after1'))
})

t.test('Messages forbidden: nothing is delivered until they are allowed', async t => {
  const server = await RedisServer.start(t)
  const allow = (...rules: string[]) =>
    server.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', ...rules))
  await allow('resetchannels')
  const log = new RedisLog({
    connection: { host: '127.0.0.1', port: server.port, username: 'app', password: 'secret' }, canaryMs: 50
  })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await t.rejects(log.follow('a', new Recorder()), UNAVAILABLE)
  t.equal(log.isHealthy, false)
  await allow('allchannels')
  await until(() => log.isHealthy)
  const recorder = new Recorder()
  await log.follow('a', recorder)
  await log.append('a', newEvents(1))
  await until(() => recorder.entries.length === 1)
})

t.test('Large batches: they are announced without their events, and read from the log', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const batch = Array.from(
    { length: 30 },
    (_, at) => ({ data: `${at} `.padEnd(10_000, 'x'), event: at % 2 === 0 ? 'even' : 'message' })
  )
  await redis.app.topics.publish('a', batch)
  await redis.app.topics.publish('a', { data: 'y'.repeat(200_000) })
  await redis.publish('a', 'small')
  const [, ...events] = await stream.next(33)
  t.same(events.map(({ event, data }) => ({ event, data })), [...batch.map(({ data, event }) => ({ event, data })), {
    event: 'message', data: 'y'.repeat(200_000)
  }, { event: 'message', data: 'small' }])
  stream.close()
})

t.test('Foreign entries in a stream: they are skipped, and no loop spins', async t => {
  const redis = await RedisApp.start(t)
  const add = (...fields: string[]) => redis.server.with(client => client.xadd('sse:{a}:log', '*', ...fields))
  await add('by', 'hand')
  t.match(await redis.app.topics.info('a'), { first: null, last: null })
  const stream = await redis.connect('a')
  const ids = await redis.publish('a', '1')
  for (let at = 0; at < 200; at++) await add('by', 'hand')
  // In a new millisecond its number is 0, as with '*' in most cases.
  await until(async () => {
    const id = await add('data', 'not through the script')
    if (!id!.endsWith('-0')) await redis.server.with(client => client.xdel('sse:{a}:log', id!))
    return id!.endsWith('-0')
  })
  ids.push(...await redis.publish('a', '2', '3'))
  t.same(dataOf(await stream.next(4)), ['stream.open', '1', '2', '3'], 'live')
  for (const [at, cursor] of ['0-0', ...ids].entries()) {
    const again = await redis.connect('a', cursor)
    t.same(
      dataOf(await again.next(4 - at)),
      ['stream.open', '1', '2', '3'].filter((_, place) => place === 0 || place > at),
      `after ${cursor}`
    )
    again.close()
  }
  const seek = async (query: string): Promise<string[]> =>
    dataOf(await (await injectSse(redis.app, { url: `/events?topic=a&${query}` })).next(3))
  t.same(await seek('last=2'), ['stream.open', '2', '3'])
  t.same((await seek('sinceMs=600000')).slice(0, 2), ['stream.open', '1'])
  t.match(await redis.app.topics.info('a'), { first: ids[0], last: ids[2] })
  t.same(
    (await redis.log.read('a', parseEventId(ids[0]!)!, { count: 10, bytes: 1_000_000 })).map(entry => entry.data),
    ['2', '3'],
    'pages contain nothing else'
  )
  stream.close()
})

t.test('Clock set back: the time in ids stays the same, and never decreases', async t => {
  const server = await RedisServer.start(t)
  const { log } = await startLog(t, { connection: server.url })
  await log.append('a', newEvents(1))
  const ahead = Date.now() + 3_600_000
  await server.with(client => client.hset('sse:{a}:meta', 'ms', ahead))
  const { ids } = await log.append('a', newEvents(2))
  t.same(ids, [{ ms: ahead, n: 2 }, { ms: ahead, n: 3 }])
  t.same((await readAll(log, 'a')).map(entry => entry.id.n), [1, 2, 3])
})

t.test('Eviction allowed: a warning is logged at every connect, and none with noeviction', async t => {
  const evicting = await RedisServer.start(t, { args: ['--maxmemory-policy', 'allkeys-lru'] })
  const { warnings } = await startLog(t, { connection: evicting.url })
  await until(() => warnings.length > 0)
  t.match(warnings, [/maxmemory-policy must be "noeviction".*allkeys-lru/])
  await evicting.with(client => client.config('SET', 'maxmemory-policy', 'noeviction'))
  const kind = await startLog(t, { connection: evicting.url })
  await kind.log.append('a', newEvents(1))
  t.same(kind.warnings, [])
})

t.test('Too few replicas: a publish is acknowledged only when enough replicas have it', async t => {
  const master = await RedisServer.start(t, { args: ['--repl-diskless-sync-delay', '0'] })
  const { log } = await startLog(t, { connection: master.url, replicas: 1, replicasTimeoutMs: 50 })
  await t.rejects(log.append('a', newEvents(1), { idempotencyKey: 'k' }), {
    ...UNAVAILABLE, message: /0 of 1 replicas within 50 ms/
  })
  const replica = await RedisServer.start(t)
  await follow(replica, master)
  await until(
    async () => (await log.append('a', newEvents(1), { idempotencyKey: 'k' }).catch(() => undefined))?.isRepeat === true
  )
  t.same((await readAll(log, 'a')).map(entry => entry.id.n), [1], 'the event that was not acknowledged is stored once')
})

t.test('Too few replicas: a stop and the end of a producer are not acknowledged either, also when repeated', async t => {
  const master = await RedisServer.start(t, { args: ['--repl-diskless-sync-delay', '0'] })
  const { log } = await startLog(t, { connection: master.url, replicas: 1, replicasTimeoutMs: 50 })
  const { fence } = await log.lease('a', { do: 'take', holder: 'x', leaseMs: 600_000, takeOver: false })
  t.match(await log.lease('a', { do: 'stop', fence: fence - 1 }), { outcome: 'superseded' })
  await t.rejects(log.lease('a', { do: 'stop', fence }), { ...UNAVAILABLE, message: /0 of 1 replicas/ })
  const end = { do: 'end', fence, reason: 'done', message: '' } as const
  await t.rejects(log.lease('a', end), UNAVAILABLE)
  await t.rejects(log.lease('a', end), UNAVAILABLE)
  const replica = await RedisServer.start(t)
  await follow(replica, master)
  await until(async () => (await log.lease('a', end).catch(() => undefined))?.outcome === 'closed')
  t.match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'done', fence })
})

t.test('Many publishes without replicas: they are rejected together, and readers do not wait for them', async t => {
  const server = await RedisServer.start(t)
  const { log } = await startLog(t, {
    connection: server.url, replicas: 2, replicasTimeoutMs: 500, commandTimeoutMs: 10_000
  })
  const results = await Promise.allSettled(Array.from({ length: 30 }, (_, at) => log.append(`t${at}`, newEvents(1))))
  for (const result of results) t.match(result, { status: 'rejected', reason: { message: /0 of 2 replicas/ } })
  t.equal((await log.locate('t0', ORIGIN)).ends.count, 1)
})

t.test('Two applications on one server: their prefixes keep them apart', async t => {
  const server = await RedisServer.start(t)
  const [one, two] = [
    await startLog(t, { connection: server.url }), await startLog(t, { connection: server.url, prefix: 'other:' })
  ]
  const recorder = new Recorder()
  await one.log.follow('a', recorder)
  await two.log.append('a', newEvents(3, 'other'), { idempotencyKey: 'k' })
  await one.log.append('a', newEvents(1, 'own'), { idempotencyKey: 'k' })
  await until(() => recorder.entries.length > 0)
  t.same(recorder.entries.map(entry => entry.data), ['own1'])
  t.same((await one.log.read('a', ORIGIN, ALL)).length, 1)
  t.equal((await two.log.locate('a', ORIGIN)).ends.count, 3)
})

t.test('Unreadable messages: the topic is compared with the log', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  const [id] = await redis.publish('a', '1')
  for (const message of ['', 'E', 'X 1 2 3', 'E 1 2 3\n', 'E 1 2 1\n5 5 \nshort', 'E x y z\nfoo', 'D\n']) {
    await redis.server.with(client => client.publish('sse:{a}:db0', message))
  }
  await redis.publish('a', '2')
  t.same(dataOf(await stream.next(3)), ['stream.open', '1', '2'])
  t.equal(gapIn(stream.events), null)
  t.same(dataOf(await (await redis.connect('a', id)).next(2)), ['stream.open', '2'])
  stream.close()
})

t.test('invalid options of the log are rejected by name', async t => {
  const connection = 'redis://127.0.0.1:1'
  const bad: [string, unknown][] = [
    ['connection', 7], ['connection', null], ['connection', undefined], ['prefix', 'a{b'], ['prefix', 'a b'],
    ['prefix', 1], ['commandTimeoutMs', 0],
    ['commandTimeoutMs', 600_001], ['canaryMs', 9], ['canaryMs', 1.5], ['replicas', -1], ['replicas', 101],
    ['replicasTimeoutMs', '1'], ['unknown', 1]
  ]
  for (const [name, value] of bad) {
    t.throws(() => new RedisLog({ connection, [name]: value }), {
      code: 'TOPICS_BAD_OPTION', message: new RegExp(`option "${name}" must be`)
    }, `${name} ${String(value)}`)
  }
  t.throws(() => new RedisLog({ connection, retention: [{ topics: '*', maxEvents: 0 }] }), {
    code: 'TOPICS_BAD_OPTION'
  })
  const log = new RedisLog({ connection, prefix: '' })
  await log.stop()
  t.equal(log.isHealthy, false)
  await t.rejects(log.append('a', [newEvent('x')]), UNAVAILABLE)
})
