import t from 'tap'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { ORIGIN } from '../../../plugin/topics/ids/event-id.ts'
import { newEvents, readAll, testLogContract } from '../../support/log-contract.ts'
import { heapAfterGc } from '../../support/processes/heap.ts'

t.test('the memory log satisfies the contract', async t => {
  testLogContract(t, async (t, retention = []) => {
    const log = new MemoryLog({ retention })
    t.teardown(() => log.stop())
    return log
  })
})

t.test('a clock that is set back does not change the order of ids', async t => {
  let now = 5_000
  const log = new MemoryLog({ now: () => now })
  await log.append('a', newEvents(1))
  now = 1_000
  const { ids } = await log.append('a', newEvents(1))
  t.same(ids, [{ ms: 5_000, n: 2 }])
})

t.test('a topic that was forgotten after a ttlMs is kept from its next append if topics do not expire', async t => {
  let now = 1_000
  const log = new MemoryLog({ now: () => now, retention: [{ topics: '*', expireAfterMs: 0 }] })
  await log.lease('a', { do: 'take', holder: 'h', leaseMs: 100, takeOver: false, ttlMs: 100 })
  now += 1_000
  await log.append('a', newEvents(2))
  now += 30 * 86_400_000
  for (let round = 0; round < 10; round++) await log.append('other', newEvents(1))
  t.same((await readAll(log, 'a')).map(({ id }) => id.n), [1, 2])
})

t.test('dropped entries are removed in chunks, and the remaining ones stay correct', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 10 }] })
  for (let round = 0; round < 300; round++) await log.append('a', newEvents(10, `${round}-`))
  t.same((await readAll(log, 'a')).map(entry => entry.id.n), Array.from({ length: 10 }, (_, at) => 2_991 + at))
})

// Regression: a client that asks to stop the producers of made-up topics filled the memory for as long as topics are
// kept.
t.test('querying the producer of a topic without events leaves nothing behind', async t => {
  const log = new MemoryLog()
  const outcomes = new Set<string>()
  const askFor = async (from: number, to: number): Promise<void> => {
    for (let at = from; at < to; at++) {
      outcomes.add((await log.lease(`topic.${at}`, { do: 'stop', fence: undefined })).outcome)
    }
  }
  // Allocations of the runtime and of earlier tests happen once; memory leaked for topics grows in each round.
  const growths: number[] = []
  for (let round = 0; round < 5; round++) {
    const before = heapAfterGc()
    await askFor(round * 20_000, (round + 1) * 20_000)
    growths.push(heapAfterGc() - before)
  }
  t.same([...outcomes], ['none'])
  t.ok(Math.min(...growths) < 2_000_000, growths.join())
  t.equal((await log.lease('topic.1', { do: 'take', holder: 'a', leaseMs: 1_000, takeOver: false })).outcome, 'ok')
  t.equal((await log.lease('topic.1', { do: 'stop', fence: undefined })).outcome, 'ok', 'and the log is still in use')
})

// Regression: the map only grew: one key for each publish of a day, each with all ids of its batch (1.9 MB for 10,000
// events).
t.test('expired idempotency keys are dropped, including those of topics that nobody publishes to', async t => {
  let now = 0
  const log = new MemoryLog({ now: () => now, retention: [{ topics: '*', idempotencyMs: 1_000, maxEvents: 1 }] })
  const before = heapAfterGc()
  const long = 'k'.repeat(100)
  for (let at = 0; at < 20_000; at++) {
    await log.append(`topic.${at % 10}`, newEvents(1), { idempotencyKey: `${long}${at}` })
  }
  const full = heapAfterGc()
  now = 1_000
  for (let at = 0; at < 30_000; at++) await log.append('other', newEvents(1))
  const after = heapAfterGc()
  t.ok(full - before > 2_000_000, 'the keys were stored')
  t.ok(after - before < (full - before) / 2, `${before}, ${full}, ${after}`)
})

t.test('a key takes the same memory however many events it covers', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 1 }] })
  const events = newEvents(10_000)
  await log.append('a', events, { idempotencyKey: 'first' })
  const before = heapAfterGc()
  for (let at = 0; at < 20; at++) await log.append('a', events, { idempotencyKey: `${at}` })
  t.ok(heapAfterGc() - before < 1_000_000)
})

t.test('idle topics are dropped even if nobody requests them', async t => {
  // A topic per answer or build is used once: without the sweep each would stay forever.
  let now = 0
  const log = new MemoryLog({ now: () => now, retention: [{ topics: 'build.*', expireAfterMs: 1_000 }] })
  for (let at = 0; at < 100; at++) await log.append(`build.${at}`, newEvents(1))
  now = 1_000
  for (let at = 0; at < 200; at++) await log.append('other', newEvents(1))
  now = 0
  t.equal((await log.locate('build.7', ORIGIN)).ends.last.n, 0)
})
