import t from 'tap'
import { deferred } from '../../plugin/common/deferred.ts'
import { ORIGIN } from '../../plugin/topics/ids/event-id.ts'
import { MemoryLog } from '../../plugin/topics/log/memory-log.ts'
import type { TopicListener } from '../../plugin/topics/log/topic-log.ts'
import { LeaseWatch } from '../support/model/lease-watch.ts'
import { silentLogger } from '../support/redis/redis-server.ts'
import { until } from '../support/until.ts'

const TAKE = { do: 'take', holder: 'p', leaseMs: 80, takeOver: false } as const

/** A watch of a topic with a producer, followed by somebody who does nothing. */
async function watchDeaf (): Promise<{ watch: LeaseWatch, late: Promise<string> }> {
  const log = new MemoryLog()
  await log.start(silentLogger)
  await log.lease('a', TAKE)
  const late = deferred<string>()
  const watch = new LeaseWatch(log, late.settle)
  watch.begin('a')
  const deaf: TopicListener = { onEntries: () => {}, onClosed: () => {}, onStop: () => {}, onResync: () => {} }
  await watch.follow('a', deaf)
  return { watch, late: late.promise }
}

t.test('a process that learns of the end of a topic and does not react is late', async t => {
  const { watch, late } = await watchDeaf()
  await until(async () => (await watch.locate('a', ORIGIN)).ends.isClosed)
  t.match(await late, /^the topic is closed, and/)
})

t.test('a process that does not query an expired lease is late', async t => {
  const { late } = await watchDeaf()
  t.match(await late, /^the lease had \d+ ms left, and/)
})
