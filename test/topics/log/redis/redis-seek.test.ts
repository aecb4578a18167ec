import { randomUUID } from 'node:crypto'
import t from 'tap'
import { injectSse } from '../../../../plugin/testing/index.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { formatEventId, ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../../plugin/topics/ids/event-id.ts'
import { numberBefore, numberBelow, seekNumber } from '../../../../plugin/topics/log/redis/redis-seek.ts'
import type { TopicEnds } from '../../../../plugin/topics/index.ts'
import { newEvent } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { Random } from '../../../support/model/random.ts'
import { dataOf, gapIn, RedisApp } from '../../../support/redis/redis-app.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

// Regression: a script read as many events as were requested, including data, to find one id: 10,000 events of 10 KB
// stopped Redis for 1.4 s.
t.test('the cost of seek in Redis grows neither with the number of following events nor with the total', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({
    connection: server.url,
    prefix: `${randomUUID()}:`,
    retention: [{ topics: '*', maxEvents: 100_000 }],
    commandTimeoutMs: 60_000
  })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  const data = 'x'.repeat(1_000)
  const costOf = async (last: number): Promise<{ bytes: number, reads: number }> => server.with(async client => {
    await client.config('RESETSTAT')
    await log.seek('a', { last })
    const reads = /cmdstat_xrange:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? '0'
    const bytes = /total_net_output_bytes:(\d+)/.exec(await client.info('stats'))![1]
    return { bytes: Number(bytes), reads: Number(reads) }
  })
  for (let round = 0; round < 30; round++) {
    const before = (await log.locate('a', ORIGIN)).ends.nowMs
    await log.append('a', Array.from({ length: 300 }, () => newEvent(data)))
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > before + 1)
  }
  for (const last of [1, 100, 1_000, 8_999]) {
    const { bytes, reads } = await costOf(last)
    t.ok(reads < 45, `${reads} reads for the last ${last}`)
    t.ok(bytes < 100_000, `${bytes} bytes for the last ${last}`)
  }
})

// Regression: the search received dozens of events with their data: 15 MB for one request with 44 topics.
t.test('a search for a position in Redis receives no data of events', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, canaryMs: 60_000, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  for (let at = 0; at < 8; at++) {
    const [id] = (await log.append('a', [newEvent('x'.repeat(100_000))])).ids
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > id!.ms + 1)
  }
  await server.with(client => client.config('RESETSTAT'))
  t.match(await log.seek('a', { last: 3 }), { n: 5 })
  t.match(await log.seek('a', { withinMs: 3_600_000 }), { n: 0 })
  const stats = await server.with(client => client.info('stats'))
  const bytes = Number(/total_net_output_bytes:(\d+)/.exec(stats)![1])
  t.ok(bytes < 50_000, `${bytes} bytes`)
})

t.test('if the newest entry was deleted from the stream, the remaining ones are found', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  for (let count = 0; count < 3; count++) {
    const [id] = (await log.append('a', [newEvent(`${count}`)])).ids
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > id!.ms + 1)
  }
  const { ends: { last } } = await log.locate('a', ORIGIN)
  await server.with(client => client.xdel('sse:{a}:log', formatEventId(last)))
  t.match(await log.seek('a', { last: 1 }), { n: 2 })
  t.match(await log.seek('a', { last: 2 }), { n: 1 })
})

t.test('an id is found by time, over skips, pauses and bursts', async t => {
  const random = new Random(5)
  for (let round = 0; round < 300; round++) {
    const { ids, ends } = someTopic(random)
    const next = async (from: string): Promise<EventId | undefined> =>
      ids.find(id => id.ms >= Number(from.split('-')[0]))
    for (let last = 0; last <= ids.length + 2; last++) {
      const found = await seekNumber(numberBelow(last, ends), ends, next)
      const wanted = last < ids.length ? ids.at(-1 - last)! : undefined
      if (wanted) t.same(found, wanted)
      else t.same(found, { ms: ids[0]!.ms, n: ids[0]!.n - 1 })
    }
    for (const [index, id] of ids.entries()) if (index > 0) t.equal(numberBefore(id.n, ends), ids[index - 1]!.n)
  }
})

/** Ids as a topic may have them, some of them trimmed. */
function someTopic (random: Random): { ids: EventId[], ends: TopicEnds } {
  const ids: EventId[] = []
  const skips: { from: EventId, to: number }[] = []
  let id = { ms: 1_000 + random.integer(0, 5), n: 1 }
  for (let count = random.integer(1, 25); count > 0; count--) {
    ids.push(id)
    const to = random.chance(0.15) ? id.n + random.integer(10, 1_000) : id.n + 1
    if (to > id.n + 1) skips.push({ from: id, to })
    id = { ms: id.ms + (random.chance(0.5) ? 0 : random.integer(1, random.pick([3, 100_000]))), n: to }
  }
  // In none of these do the retained events start right after a skip: a position before it is the entry before the
  // skip.
  const first = random.integer(0, ids.length - 1)
  const kept = skips.some(({ to }) => to === ids[first]!.n) ? ids : ids.slice(first)
  const ends = {
    first: kept[0],
    last: ids.at(-1)!,
    count: kept.length,
    bornMs: 1_000,
    forgottenMs: 0,
    expireAfterMs: 0,
    nowMs: id.ms,
    isClosed: false,
    skips
  }
  return { ids: kept, ends }
}

// Regression: the position after the gap was a made-up number inside the skip, and was reported as lost (`fork`) once
// its event was trimmed.
t.test('a client that received a gap up to a skip continues as trimmed, not as lost, when that event is trimmed too', async t => {
  const redis = await RedisApp.start(t, {
    args: ['--appendonly', 'yes', '--appendfsync', 'always'], log: { retention: [{ topics: '*', maxEvents: 3 }] }
  })
  const [first] = await redis.publish('a', '1', '2', '3', '4', '5')
  await redis.server.kill()
  await redis.server.start()
  await redis.healthy()
  await redis.publish('a', '6', '7', '8')
  const told = await redis.connect('a', first)
  const events = await told.next(2)
  t.match(gapIn(events), { reason: 'trimmed', missed: 4 })
  told.close()
  await redis.publish('a', '9')
  const again = await redis.connect('a', events[1]!.id)
  const rest = await again.next(5)
  t.match(gapIn(rest), { reason: 'trimmed', missed: 1 })
  t.same(dataOf(rest), ['stream.open', 'stream.gap', '7', '8', '9'])
  again.close()
})

// Regression: after a restart of Redis the made-up position was inside the skip.
t.test('a client that started with last before a restart of Redis resumes without loss', async t => {
  const redis = await RedisApp.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  await redis.publish('a', '1', '2', '3')
  await redis.server.kill()
  await redis.server.start()
  await redis.healthy()
  await redis.publish('a', '4', '5')
  for (const last of [0, 1, 2, 3, 4, 5]) {
    const cut = await injectSse(redis.app, `/events?topic=a&last=${last}`)
    const [open] = await cut.next()
    cut.close()
    const again = await redis.connect('a', open!.id)
    t.same(dataOf(await again.next(1 + last)), ['stream.open', ...['1', '2', '3', '4', '5'].slice(5 - last)])
    again.close()
  }
})
