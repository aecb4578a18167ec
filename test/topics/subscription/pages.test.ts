import t from 'tap'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { ORIGIN } from '../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import { Pages } from '../../../plugin/topics/subscription/pages.ts'
import type { LogEntry } from '../../../plugin/topics/log/topic-log.ts'
import { newEvent, newEvents } from '../../support/log-contract.ts'

/** A memory log that counts its calls and can be made to fail. */
class CountingLog extends MemoryLog {
  reads = 0
  underWay = 0
  mostUnderWay = 0
  failure: Error | undefined

  override async read (topic: string, after: EventId, limit: Parameters<MemoryLog['read']>[2]): Promise<LogEntry[]> {
    this.reads++
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay)
    await new Promise(resolve => setImmediate(resolve))
    this.underWay--
    if (this.failure) throw this.failure
    return super.read(topic, after, limit)
  }
}

async function logOf (count: number, data = 'x'): Promise<{ log: CountingLog, pages: Pages, ids: readonly EventId[] }> {
  const log = new CountingLog()
  const { ids } = await log.append('a', Array.from({ length: count }, () => newEvent(data)))
  return { log, pages: new Pages(log), ids }
}

t.test('readers at the same position share one read, also a moment later', async t => {
  const { log, pages, ids } = await logOf(5)
  const [first, second] = await Promise.all([pages.read('a', ids[0]!), pages.read('a', ids[0]!)])
  t.equal(first, second)
  t.equal(await pages.read('a', ids[0]!), first)
  t.equal(first.slices, second.slices, 'and its bytes')
  t.equal(log.reads, 1)
  await pages.read('a', ids[1]!)
  t.equal(log.reads, 2, 'another position is another read')
})

t.test('a failure is shared while the read is in progress, and then the log is queried again', async t => {
  const { log, pages, ids } = await logOf(2)
  log.failure = new Error('away')
  const [one, two] = await Promise.allSettled([pages.read('a', ids[0]!), pages.read('a', ids[0]!)])
  t.same([one.status, two.status, log.reads], ['rejected', 'rejected', 1])
  log.failure = undefined
  t.equal((await pages.read('a', ids[0]!)).entries.length, 1)
})

t.test('a page from the start of a topic is not cached', async t => {
  const { log, pages } = await logOf(2)
  await pages.read('a', ORIGIN)
  await pages.read('a', ORIGIN)
  t.equal(log.reads, 2)
})

t.test('a limited number of pages is read at a time, the others wait for their turn', async t => {
  const { log, pages, ids } = await logOf(100)
  await Promise.all(ids.map(id => pages.read('a', id)))
  t.equal(log.reads, 100)
  t.equal(log.mostUnderWay, 32)
  await pages.read('b', ids[0]!)
  t.equal(log.underWay, 0)
})

t.test('the cache is limited by its bytes, and the oldest pages are dropped first', async t => {
  const { log, pages, ids } = await logOf(250, 'x'.repeat(128 * 1024))
  for (const id of ids) await pages.read('a', id)
  await pages.read('a', ids.at(-2)!)
  t.equal(log.reads, 250, 'the newest are kept')
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 251, 'the oldest are not')
})

// Regression: pages of one-byte events counted as a few kilobytes, but used a quarter of a megabyte each.
t.test('small events count with the memory that they use', async t => {
  const { log, pages, ids } = await logOf(1_080)
  for (const id of ids.slice(0, 80)) await pages.read('a', id)
  await pages.read('a', ids[79]!)
  t.equal(log.reads, 80, 'the newest are kept')
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 81, 'the oldest are not')
})

// Regression: later answers were kept for as long as that took, 5 s while a node of a cluster was down.
t.test('the limit also holds while an older read has no result', async t => {
  const { log, pages, ids } = await logOf(250, 'x'.repeat(128 * 1024))
  const { locate } = log
  log.locate = topic => topic === 'away' ? new Promise<never>(() => {}) : locate.call(log, topic, ORIGIN)
  void pages.read('away', ids[0]!)
  await new Promise(resolve => setImmediate(resolve))
  for (const id of ids) await pages.read('a', id)
  t.equal(log.reads, 251)
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 252, 'the oldest is not kept')
})

t.test('pages are cached for a moment only', async t => {
  const { log, pages, ids } = await logOf(2)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  await pages.read('a', ids[0]!)
  // The wall clock may be set; it must not be used here.
  performance.now = () => now.call(performance) + 2_000
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 2)
})

t.test('no cached page of a topic is returned after the topic is forgotten, however many topics are', async t => {
  const { log, pages, ids } = await logOf(2)
  await log.append('b', newEvents(2))
  await pages.read('a', ids[0]!)
  pages.forget('a')
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 2)
  await pages.read('b', ids[0]!)
  for (let at = 0; at < 10_001; at++) pages.forget(`topic${at}`)
  await pages.read('a', ids[0]!)
  t.equal(log.reads, 4)
})
