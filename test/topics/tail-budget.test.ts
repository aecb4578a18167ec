import t from 'tap'
import { Hub } from '../../plugin/topics/hub.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { TailBudget } from '../../plugin/topics/tail-budget.ts'
import { newEvent, until } from '../support/log-contract.ts'

t.test('what moved longest ago is let go first, and only as much as is needed', t => {
  const budget = new TailBudget(100)
  const shrunk: string[] = []
  const tail = (name: string) => ({ shrink: () => { shrunk.push(name); return 10 } })
  const [a, b, c] = [tail('a'), tail('b'), tail('c')]
  budget.moved(a, 40)
  budget.moved(b, 40)
  budget.moved(a, 50)
  budget.moved(c, 30)
  t.same(shrunk, ['b'])
  t.equal(budget.used, 50 + 10 + 30)
  budget.forget(a)
  budget.forget(a)
  t.equal(budget.used, 40)
  budget.moved(c, 500)
  t.same(shrunk, ['b', 'b', 'c'], 'also the one that moved, when the others are not enough')
  t.end()
})

t.test('the tails of many topics stay within their bound together', async t => {
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
  t.ok(leases.at(-1)!.feed.tailBytes > 500, 'what moved last is kept')
  for (const { release } of leases) release()
  await until(() => hub.counts.feeds === 0 && hub.counts.tailBytes === 0)
  t.same(hub.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
})

// The newest batch of each feed stayed in memory whatever the bound: 300 clients, each with a topic of its own beside a shared one,
// kept 282 MB of one batch of 900 KB.
t.test('the bound of all tails holds with many sets of topics and large batches, and the newest batch counts', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 1_000_000, maxAllTailsBytes: 200_000, onTrouble: () => t.fail() })
  const leases = await Promise.all(Array.from({ length: 100 }, (_, at) => hub.acquire([`own.${at}`, 'shared'])))
  const taken = leases.map(({ feed }) => {
    const reader = { events: 0, next: feed.place.index, most: 0, fail: () => t.fail(), pump: () => {} }
    reader.pump = () => {
      for (let batch = feed.batch(reader.next); batch; batch = feed.batch(reader.next)) {
        reader.events += batch.frame.events
        reader.most = Math.max(reader.most, batch.frame.bytes.length)
        reader.next++
      }
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
  t.ok(taken.every(({ most }) => most < 70_000), 'and no batch is written that is larger than a client may hold')
  for (const { release } of leases) release()
})

// A feed that was stopped with a batch pending put itself back into the budget with it, and nobody took it out again.
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

// One event for 10,000 clients, each with topics of its own, held the process for up to a second.
t.test('an event that is pending in many feeds does not keep the event loop from its other work', async t => {
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

t.test('a reader that throws ends alone, the others get what is new', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 100_000, onTrouble: () => t.fail() })
  const { feed, release } = await hub.acquire(['a'])
  const failures: unknown[] = []
  let pumped = 0
  feed.add({ pump: () => { throw new Error('broken') }, fail: error => failures.push(error) })
  feed.add({ pump: () => { pumped++ }, fail: () => t.fail() })
  for (let round = 1; round <= 3; round++) {
    await log.append('a', [newEvent('x')])
    await until(() => pumped === round)
  }
  t.match(failures, [{ message: 'broken' }, { message: 'broken' }, { message: 'broken' }])
  release()
})
