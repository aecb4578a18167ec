import { once } from 'node:events'
import t from 'tap'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { newEvent, newEvents, readAll } from '../../../support/log-contract.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'

const LARGE = 250_000
const PAGE = { count: 1_000, bytes: 1024 * 1024 }
/** Entries of a reply contain ids and names in addition to their data. */
const OVERHEAD = 200

/** The bytes that the server has sent so far, without those for this query. */
async function sentBy (server: RedisServer): Promise<number> {
  return server.with(async client => Number(/total_net_output_bytes:(\d+)/.exec(await client.info('stats'))![1]))
}

// Regression: the size of earlier events was used to predict that of the next ones: with 64 events of one byte, then
// large ones, one page was 75 MB.
t.test('a page is limited by bytes, also when the events become larger or smaller from one to the next', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, canaryMs: 60_000, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  const costs: number[] = []
  for (const many of [20, 80]) {
    const topic = `jump${many}`
    await log.append(topic, Array.from({ length: 64 }, () => newEvent('x')))
    for (let at = 0; at < many; at++) await log.append(topic, [newEvent('y'.repeat(LARGE))])
    await log.append(topic, Array.from({ length: 300 }, () => newEvent('z')))
    const small = await log.read(topic, ORIGIN, { count: 64, bytes: PAGE.bytes })
    t.equal(small.length, 64)
    let after = small.at(-1)!.id
    const before = await sentBy(server)
    let pages = 0
    const seen: string[] = []
    for (let page = small; page.length > 0; pages++) {
      const start = await sentBy(server)
      page = await log.read(topic, after, PAGE)
      const sent = await sentBy(server) - start
      t.ok(sent <= PAGE.bytes + page.length * OVERHEAD + 10_000, `a page of ${page.length} events sends ${sent} bytes`)
      seen.push(...page.map(({ data }) => data.slice(0, 1)))
      after = page.at(-1)?.id ?? after
    }
    t.equal(seen.join(''), 'y'.repeat(many) + 'z'.repeat(300))
    t.ok(pages <= Math.ceil(many * LARGE / (PAGE.bytes - LARGE)) + 3, 'and is not much smaller than the limit')
    costs.push((await sentBy(server) - before) / many)
  }
  t.ok(costs[1]! < costs[0]! * 1.5, 'the bytes sent grow with the events stored')
})

// Regression: a request for one event of 256 KiB read 16 of them, which took 4 ms of Redis' time.
t.test('a page reads at most one large event that it does not return', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, canaryMs: 60_000, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  for (let at = 0; at < 32; at++) await log.append('a', [newEvent('y'.repeat(LARGE))])
  const entriesFor = async (bytes: number): Promise<number> => server.with(async client => {
    const monitor = await client.monitor()
    const counts: number[] = []
    const isOver = once(monitor, 'end of the page')
    monitor.on('monitor', (time: string, [command, ...args]: string[]) => {
      if (/^xrange$/i.test(command!)) counts.push(Number(args.at(-1)))
      if (/^echo$/i.test(command!)) monitor.emit('end of the page')
    })
    t.equal((await log.read('a', ORIGIN, { count: 1_000, bytes })).length, Math.max(1, Math.floor(bytes / LARGE)))
    await client.echo('')
    await isOver
    monitor.disconnect()
    return counts.reduce((sum, count) => sum + count, 0)
  })
  t.equal(await entriesFor(1), 1)
  t.equal(await entriesFor(2 * LARGE + 200), 3)
})

t.test('one event that is larger than a page is a separate page, and the count is a separate limit', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await log.append('a', [newEvent('1'), newEvent('x'.repeat(2_000)), newEvent('3'), ...newEvents(100)])
  t.same((await log.read('a', ORIGIN, { count: 10, bytes: 1_000 })).map(({ data }) => data), ['1'])
  t.same((await log.read('a', { ...(await log.read('a', ORIGIN, { count: 1, bytes: 1 }))[0]!.id }, {
    count: 10, bytes: 1_000
  })).map(({ data }) => data.length), [2_000])
  for (const count of [1, 15, 16, 17, 33]) t.equal((await log.read('a', ORIGIN, { count, bytes: 1e6 })).length, count)
  t.equal((await readAll(log, 'a')).length, 103)
})
