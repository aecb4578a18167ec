import type { Frame } from '../../../plugin/index.ts'
import t from 'tap'
import { Hub } from '../../../plugin/topics/feed/hub.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { TailBudget } from '../../../plugin/topics/feed/tail-budget.ts'
import { newEvent } from '../../support/log-contract.ts'
import { until } from '../../support/until.ts'

function tailsNamed (...names: string[]) {
  const dropped: string[] = []
  return { dropped, tails: names.map(name => ({ drop: () => { dropped.push(name) } })) }
}

t.test('the least recently used tail is dropped first, and no more tails than necessary', t => {
  const budget = new TailBudget(100)
  const { dropped, tails: [a, b, c] } = tailsNamed('a', 'b', 'c')
  budget.moved(a!, 40)
  budget.moved(b!, 40)
  budget.moved(a!, 50)
  budget.moved(c!, 30)
  t.same(dropped, ['b'])
  t.equal(budget.used, 50 + 30)
  budget.forget(a!)
  budget.forget(a!)
  t.equal(budget.used, 30)
  budget.moved(b!, 40)
  budget.moved(c!, 500)
  t.same(dropped, ['b', 'b', 'c'], 'also the most recently used one, when the others are not enough')
  t.equal(budget.used, 0)
  t.end()
})

// Regression: dropped tails stayed in the list, and each further batch visited all of them: with 50,000 feeds whose
// clients were slow, one event for each took a minute of CPU time.
t.test('a tail that was dropped is not visited again until it has bytes again', t => {
  const budget = new TailBudget(100)
  const { dropped, tails: [a, b, c, d] } = tailsNamed('a', 'b', 'c', 'd')
  for (const tail of [a, b, c, d, a]) budget.moved(tail!, 90)
  t.same(dropped, ['a', 'b', 'c', 'd'], 'each once')
  t.end()
})

t.test('the tails of many topics together stay within their limit', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, maxAllTailsBytes: 20_000, onTrouble: () => t.fail() })
  const topics = Array.from({ length: 20 }, (_, at) => `t${at}`)
  const leases = await Promise.all(topics.map(topic => hub.acquire([topic])))
  for (let round = 0; round < 5; round++) {
    for (const [at, topic] of topics.entries()) {
      const { index } = leases[at]!.feed.place
      await log.append(topic, [newEvent('x'.repeat(500))])
      await until(() => leases[at]!.feed.place.index > index)
    }
  }
  t.ok(hub.counts.tailBytes <= 20_000, `${hub.counts.tailBytes} bytes`)
  t.ok(leases.at(-1)!.feed.tailBytes > 500, 'the most recently used one is kept')
  for (const { release } of leases) release()
  await until(() => hub.counts.feeds === 0 && hub.counts.tailBytes === 0)
  t.same(hub.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
})

// Regression: the newest batch of each feed stayed in memory whatever the limit: 300 clients, each with a topic of its
// own in addition to a shared one, kept 282 MB of one batch of 900 KB.
t.test('the limit of all tails holds with many sets of topics and large batches, including the newest batch', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 1_000_000, maxAllTailsBytes: 200_000, onTrouble: () => t.fail() })
  const leases = await Promise.all(Array.from({ length: 100 }, (_, at) => hub.acquire([`own.${at}`, 'shared'])))
  const taken = leases.map(({ feed }) => {
    const reader = { events: 0, next: feed.place.index, most: 0, fail: () => t.fail(), pump: () => true }
    reader.pump = () => {
      for (let batch = feed.batch(reader.next); batch; batch = feed.batch(reader.next)) {
        reader.events += batch.frame.events
        reader.most = Math.max(reader.most, batch.frame.bytes.length)
        reader.next++
      }
      return true
    }
    feed.add(reader)
    return reader
  })
  let mostBytes = 0
  await log.append('shared', Array.from({ length: 300 }, () => newEvent('x'.repeat(1_000))))
  await until(() => {
    mostBytes = Math.max(mostBytes, hub.counts.tailBytes)
    return taken.every(({ events }) => events === 300)
  })
  t.ok(mostBytes <= 200_000, `${mostBytes} bytes at most`)
  t.ok(taken.every(({ most }) => most < 70_000), 'and no batch is larger than the limit of a client')
  for (const { release } of leases) release()
})

// Regression: a feed that was stopped with a pending batch added itself to the budget again with that batch, and was
// never removed.
t.test('a feed that is stopped while something is pending leaves nothing behind', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, onTrouble: () => t.fail() })
  for (let round = 0; round < 20; round++) {
    const leases = await Promise.all(Array.from({ length: 10 }, (_, at) => hub.acquire([`own.${at}`, 'shared'])))
    await log.append('shared', [newEvent('x'.repeat(500))])
    const resynced = leases[0]!.feed.resync([0])
    for (const { release } of leases) release()
    await resynced
    await until(() => hub.counts.feeds === 0 && hub.counts.topics === 0)
  }
  await new Promise(resolve => setImmediate(resolve))
  t.same(hub.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
})

// Regression: one event for 10,000 clients, each with different topics, blocked the process for up to a second.
t.test('an event that is pending in many feeds does not block the event loop', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, onTrouble: () => t.fail() })
  const leases = await Promise.all(Array.from({ length: 3_000 }, (_, at) => hub.acquire([`own.${at}`, 'shared'])))
  const start = leases.map(({ feed }) => feed.place.index)
  await log.append('shared', Array.from({ length: 20 }, () => newEvent('x')))
  const flushed = (): number => leases.filter(({ feed }, at) => feed.place.index > start[at]!).length
  await until(() => flushed() === leases.length)
  const turns: number[] = []
  await log.append('shared', Array.from({ length: 20 }, () => newEvent('y')))
  while (leases.some(({ feed }, at) => feed.place.index < start[at]! + 2)) {
    await new Promise(resolve => setImmediate(resolve))
    turns.push(leases.filter(({ feed }, at) => feed.place.index >= start[at]! + 2).length)
  }
  t.ok(turns.length > 2, `${turns.length} turns of the loop`)
  for (const { release } of leases) release()
})

// Regression: each of 10,000 readers with different topics kept a copy of the newest events: 20.8 MB for one event of 2
// KB.
t.test('a feed keeps nothing that all its readers have received, and everything for one that has not', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, onTrouble: () => t.fail() })
  const leases = await Promise.all([hub.acquire(['a']), hub.acquire(['a'])])
  const [{ feed }] = leases
  const start = feed.place.index
  const reader = { pump: () => true, fail: () => t.fail() }
  feed.add(reader)
  await log.append('a', [newEvent('x')])
  await until(() => feed.place.index === start + 1)
  t.ok(feed.holds(start) && hub.counts.tailBytes > 0, 'the second user has not joined yet')
  const second = { isSlow: true, pump: () => !second.isSlow, fail: () => t.fail() }
  feed.add(second)
  await log.append('a', [newEvent('y')])
  await until(() => feed.place.index === start + 2)
  t.ok(feed.holds(start), 'the second reader has not taken it')
  second.isSlow = false
  await log.append('a', [newEvent('z')])
  await until(() => feed.place.index === start + 3)
  t.notOk(feed.holds(start + 2))
  t.equal(hub.counts.tailBytes, 0)
  for (const { release } of leases) release()
})

// Regression: an event of 1 MB for 1,000 clients with an inbox each was copied 1,000 times.
t.test('large bodies are not copied for a feed with one reader, and are copied once for a feed with several', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 1_000_000, onTrouble: () => t.fail() })
  const leases = await Promise.all([['a', 'own'], ['a'], ['a']].map(topics => hub.acquire(topics)))
  const frames: Frame[][] = leases.map(() => [])
  leases.forEach(({ feed }, at) => {
    let next = feed.place.index
    const pump = (): boolean => {
      for (let batch = feed.batch(next); batch; batch = feed.batch(++next)) frames[at]!.push(batch.frame)
      return true
    }
    feed.add({ pump, fail: () => t.fail() })
  })
  await log.append('a', [newEvent('x'.repeat(30_000)), newEvent('y')])
  await until(() => frames.every(each => each.length > 0))
  const [own, shared, same] = frames.map(([frame]) => frame)
  t.equal(own!.chunk!.length, 3, 'the part before the body, the body, and the part after it')
  t.equal(shared!.chunk!.length, 1)
  t.equal(same, shared)
  const withoutIds = (frame: Frame): string => frame.bytes.toString().replaceAll(/^id: .*\n/gm, '')
  t.equal(withoutIds(own!), withoutIds(shared!))
  for (const { release } of leases) release()
})

t.test('if a reader throws, only that reader ends, and the others receive new events', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, onTrouble: () => t.fail() })
  const { feed, release } = await hub.acquire(['a'])
  const failures: unknown[] = []
  let pumped = 0
  feed.add({ pump: () => { throw new Error('broken') }, fail: error => failures.push(error) })
  feed.add({ pump: () => ++pumped > 0, fail: () => t.fail() })
  for (let round = 1; round <= 3; round++) {
    await log.append('a', [newEvent('x')])
    await until(() => pumped === round)
  }
  t.match(failures, [{ message: 'broken' }, { message: 'broken' }, { message: 'broken' }])
  release()
})
