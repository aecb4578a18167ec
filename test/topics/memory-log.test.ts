import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { ORIGIN } from '../../plugin/topics/event-id.ts'
import { newEvents, readAll, testLogContract } from '../support/log-contract.ts'
import { heapAfterGc } from '../support/heap.ts'

t.test('the memory log keeps the contract', async t => {
  testLogContract(t, async (t, retention = []) => {
    const log = new MemoryLog({ retention })
    t.teardown(() => log.stop())
    return log
  })
})

t.test('a clock set back does not bring ids out of order', async t => {
  let now = 5_000
  const log = new MemoryLog({ now: () => now })
  await log.append('a', newEvents(1))
  now = 1_000
  const { ids } = await log.append('a', newEvents(1))
  t.same(ids, [{ ms: 5_000, n: 2 }])
})

t.test('entries let go are let go in pieces, and what is kept stays right', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 10 }] })
  for (let round = 0; round < 300; round++) await log.append('a', newEvents(10, `${round}-`))
  t.same((await readAll(log, 'a')).map(entry => entry.id.n), Array.from({ length: 10 }, (_, at) => 2_991 + at))
})

// A map that only grows: one key for each publish of a day, and each held all ids of its batch (1.9 MB for 10,000 events).
t.test('stale idempotency keys are dropped, also those of topics that nobody publishes to', async t => {
  let now = 0
  const log = new MemoryLog({ now: () => now, retention: [{ topics: '*', idempotencyMs: 1_000, maxEvents: 1 }] })
  const before = heapAfterGc()
  const long = 'k'.repeat(100)
  for (let at = 0; at < 20_000; at++) await log.append(`topic.${at % 10}`, newEvents(1), { idempotencyKey: `${long}${at}` })
  const full = heapAfterGc()
  now = 1_000
  for (let at = 0; at < 30_000; at++) await log.append('other', newEvents(1))
  const after = heapAfterGc()
  t.ok(full - before > 2_000_000, 'the keys were there')
  t.ok(after - before < (full - before) / 2, `${before}, ${full}, ${after}`)
})

t.test('a key takes the same room however many events it stands for', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 1 }] })
  const events = newEvents(10_000)
  await log.append('a', events, { idempotencyKey: 'first' })
  const before = heapAfterGc()
  for (let at = 0; at < 20; at++) await log.append('a', events, { idempotencyKey: `${at}` })
  t.ok(heapAfterGc() - before < 1_000_000)
})

t.test('idle topics go although nobody asks for them', async t => {
  // A topic per answer or build is used once: without the sweep each would stay for ever.
  let now = 0
  const log = new MemoryLog({ now: () => now, retention: [{ topics: 'build.*', expireAfterMs: 1_000 }] })
  for (let at = 0; at < 100; at++) await log.append(`build.${at}`, newEvents(1))
  now = 1_000
  for (let at = 0; at < 200; at++) await log.append('other', newEvents(1))
  now = 0
  t.equal((await log.locate('build.7', ORIGIN)).ends.last.n, 0)
})
