import t from 'tap'
import type { Test } from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { LogEntry, NewEvent } from '../../../../plugin/topics/index.ts'
import { newEvents, readAll } from '../../../support/log-contract.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'
import { until } from '../../../support/until.ts'

// Appends to the same topic in the same tick of the event loop are sent to Redis in one call of the script.

async function start (t: Test): Promise<{ log: RedisLog, calls: () => Promise<number> }> {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  const calls = async (): Promise<number> => server.with(async client => {
    const stats = await client.info('commandstats')
    return [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0)
  })
  return { log, calls }
}

function reasonsOf (results: ReadonlyArray<PromiseSettledResult<unknown>>): Array<Error & { code: string }> {
  return results.flatMap(result => result.status === 'rejected' ? [result.reason as Error & { code: string }] : [])
}

const event = (data: string): NewEvent => ({ event: undefined, data, retry: undefined })

t.test('appends in one turn share a call, and each publisher receives the ids of its own events', async t => {
  const { log, calls } = await start(t)
  await log.append('a', newEvents(1))
  const before = await calls()
  const appended = await Promise.all([
    log.append(
      'a',
      newEvents(2)
    ), log.append('a', newEvents(3)), log.append('b', newEvents(1)), log.append('a', newEvents(1))
  ])
  t.equal(await calls() - before, 2)
  t.same(appended.map(({ ids }) => ids.map(({ n }) => n)), [[2, 3], [4, 5, 6], [1], [7]])
  t.same((await readAll(log, 'a')).map(({ id }) => id.n), [1, 2, 3, 4, 5, 6, 7])
  t.same(new Set(appended.map(({ isRepeat }) => isRepeat)), new Set([false]))
})

t.test('the events of one turn are in the order of the appends, whatever their options', async t => {
  const { log } = await start(t)
  await Promise.all([
    log.append('a', [event('1')]),
    log.append('a', [event('2')], { idempotencyKey: 'k' }),
    log.append('a', [event('3')]),
    log.close('a')
  ])
  t.same((await readAll(log, 'a')).map(({ data }) => data), ['1', '2', '3'])
  await log.delete('a')
  const [, { fence }] = await Promise.all([
    log.append('a', [event('4')]),
    log.lease('a', { do: 'take', holder: 'h', leaseMs: 60_000, takeOver: false })
  ])
  await Promise.all([
    log.append('a', [event('5')]),
    log.append('a', [event('6')], { lease: { fence, accepted: 0 } }),
    log.append('a', [event('7')])
  ])
  t.same((await readAll(log, 'a')).map(({ data }) => data), ['4', '5', '6', '7'])
  await Promise.all([log.append('a', [event('8')]), log.delete('a')])
  t.same(await readAll(log, 'a'), [])
  const { ids } = await log.append('a', [event('9')])
  t.same(ids.map(({ n }) => n), [9])
})

t.test('each publisher to a closed topic receives its own error', async t => {
  const { log } = await start(t)
  await log.close('a')
  const results = await Promise.allSettled([log.append('a', newEvents(1)), log.append('a', newEvents(2))])
  const errors = reasonsOf(results)
  t.same(errors.map(({ code }) => code), ['TOPICS_CLOSED', 'TOPICS_CLOSED'])
  t.not(errors[0], errors[1])
})

t.test('each publisher receives its own error when Redis is unavailable, and later appends succeed', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await log.append('a', newEvents(1))
  await server.kill()
  const results = await Promise.allSettled([log.append('a', newEvents(1)), log.append('a', newEvents(2))])
  const errors = reasonsOf(results)
  t.same(errors.map(({ code }) => code), ['TOPICS_LOG_UNAVAILABLE', 'TOPICS_LOG_UNAVAILABLE'])
  t.not(errors[0], errors[1])
})

// Above 64 KiB the script announces a batch without its entries, and every process reads it from the log.
t.test('a group never grows beyond the size that is announced with its entries', async t => {
  const { log, calls } = await start(t)
  const heard: LogEntry[] = []
  let resyncs = 0
  await log.follow('a', {
    onEntries: entries => heard.push(...entries),
    onClosed: () => {},
    onStop: () => {},
    onResync: () => { resyncs++ }
  })
  const before = await calls()
  const data = '€'.repeat(7_000)
  const appended = await Promise.all(Array.from({ length: 8 }, () => log.append('a', [event(data)])))
  t.equal(await calls() - before, 3)
  t.same(appended.map(({ ids }) => ids[0]!.n), [1, 2, 3, 4, 5, 6, 7, 8])
  await until(() => heard.length === 8)
  t.same(heard.map(({ id }) => id.n), [1, 2, 3, 4, 5, 6, 7, 8])
  t.equal(resyncs, 0)
})

// Regression: only data was counted, and one publish without data sent 16 MB to every process.
t.test('names and the lines between events count for the size that is announced with its entries', async t => {
  const { log } = await start(t)
  const heard: string[] = []
  await log.follow('a', {
    onEntries: entries => heard.push(`${entries.length} entries`),
    onClosed: () => {},
    onStop: () => {},
    onResync: () => { heard.push('resync') }
  })
  const named = (count: number, name: string): NewEvent[] =>
    Array.from({ length: count }, () => ({ ...event(''), event: name }))
  await log.append('a', named(64, 'n'.repeat(1_000)))
  await log.append('a', named(65, 'n'.repeat(1_024)))
  await log.append('a', named(10_000, 'n'))
  await log.append('a', named(20_000, ''))
  await log.append('a', [event('last')])
  await until(() => heard.length === 5)
  t.same(heard, ['64 entries', 'resync', '10000 entries', 'resync', '1 entries'])
})

t.test('a group of appends without data has a limit, too', async t => {
  const { log, calls } = await start(t)
  const before = await calls()
  await Promise.all(Array.from({ length: 8_000 }, () => log.append('a', [event('')])))
  t.equal(await calls() - before, 2)
})

t.test('a large append is sent separately', async t => {
  const { log, calls } = await start(t)
  const before = await calls()
  const events = [event('s'), event('x'.repeat(100_000)), event('s')]
  const appended = await Promise.all(events.map(one => log.append('a', [one])))
  t.equal(await calls() - before, 3)
  t.same(appended.map(({ ids }) => ids[0]!.n), [1, 2, 3])
})
