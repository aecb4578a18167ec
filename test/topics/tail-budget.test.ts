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
  t.ok(leases.every(({ feed }) => feed.tailBytes > 0), 'each keeps its newest batch')
  for (const { release } of leases) release()
  await until(() => hub.counts.feeds === 0 && hub.counts.tailBytes === 0)
  t.same(hub.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
})
