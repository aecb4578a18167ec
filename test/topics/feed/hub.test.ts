import t from 'tap'
import Fastify from 'fastify'
import { errors } from '../../../plugin/topics/errors.ts'
import { Hub } from '../../../plugin/topics/feed/hub.ts'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import type { TopicEnds, TopicListener } from '../../../plugin/topics/index.ts'
import { newEvents } from '../../support/log-contract.ts'
import { until } from '../../support/until.ts'

/** A memory log that fails to follow some topics. */
class RefusingLog extends MemoryLog {
  readonly refused = new Set<string>()
  failure: Error = new errors.TOPICS_LOG_UNAVAILABLE('away')

  override async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    if (this.refused.has(topic)) throw this.failure
    return super.follow(topic, listener)
  }
}

t.test('a feed that cannot be acquired leaves nothing behind, and can be acquired later', async t => {
  const log = new RefusingLog()
  const hub = new Hub(log, { maxTailBytes: 1_000, onTrouble: () => t.fail() })
  log.refused.add('b')
  const failed = await Promise.allSettled([hub.acquire(['a', 'b']), hub.acquire(['a', 'b']), hub.acquire(['b'])])
  t.same(failed.map(result => result.status), ['rejected', 'rejected', 'rejected'])
  await until(() => hub.counts.topics === 0)
  t.same(hub.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
  log.refused.clear()
  const [one, two] = await Promise.all([hub.acquire(['a', 'b']), hub.acquire(['a', 'b'])])
  t.equal(one.feed, two.feed, 'readers of the same topics share one feed')
  t.same(hub.counts, { topics: 2, feeds: 1, tailBytes: 0, lagging: 0 })
  one.release()
  t.equal(hub.counts.feeds, 1)
  two.release()
  await until(() => hub.counts.topics === 0)
})

t.test('a follower retries while the log is unavailable, and reports it from the second failure on; any other error is reported once', async t => {
  const log = new RefusingLog()
  const troubles: unknown[] = []
  const hub = new Hub(log, { maxTailBytes: 1_000, onTrouble: (topic, error) => troubles.push(error) })
  const { feed, release } = await hub.acquire(['a'])
  const locate = log.locate.bind(log)
  let failures = 3
  // Waiting for a log never keeps a process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  log.locate = async (...args) => {
    if (failures-- > 0) throw log.failure
    return locate(...args)
  }
  await log.append('a', newEvents(1))
  await feed.resync([0])
  t.equal(troubles.length, 2)
  t.equal(feed.place.positions[0]?.n, 1)
  failures = 1
  log.failure = new TypeError('a bug')
  await feed.resync([0])
  t.equal(troubles.at(-1), log.failure)
  release()
})

t.test('invalid options of the topics are rejected with their range', async t => {
  const log = new MemoryLog()
  for (const [options, message] of [
    [{}, /"log" must be a TopicLog/], [{ log: {} }, /"log"/], [
      { log, maxEventBytes: 0 }, /maxEventBytes.*integer from 1, saw 0/
    ], [{ log, maxBatchEvents: 100_001 }, /maxBatchEvents.*integer from 1 to 100000, saw 100001/], [
      { log, maxBatch: 1 }, /"maxBatch" must be one of log, maxEventBytes/
    ]
  ] as const) {
    const app = Fastify()
    await t.rejects(async () => app.register(topics, options as never), { code: 'TOPICS_BAD_OPTION', message })
  }
})

t.test('an option that is explicitly undefined counts as not given', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(topics, { log: new MemoryLog(), maxEventBytes: undefined, observer: undefined } as never)
  await app.topics.publish('a', { data: 'x' })
})
