import { silentLogger } from '../../redis/redis-server.ts'
import { errors } from '../../../../plugin/topics/errors.ts'
import { Hub } from '../../../../plugin/topics/feed/hub.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import type { TopicLog } from '../../../../plugin/topics/log/topic-log.ts'
import { Producers } from '../../../../plugin/topics/producers/index.ts'
import { checkProduceOptions } from '../../../../plugin/topics/producers/options.ts'
import { FaultyLog, NO_FAULTS } from '../faulty-log.ts'
import { Random } from '../random.ts'

const EXPECTED = ['TOPICS_CLOSED', 'TOPICS_LOG_UNAVAILABLE']

/**
 * Two processes concurrently continue the same producer again and again, from positions of their choice: sources break
 * off, and appends are rejected or executed without an answer. Returns the problems of the resulting topic.
 */
export async function runProducersSchedule (log: TopicLog, topic: string, seed: number): Promise<string[]> {
  const random = new Random(seed)
  const total = random.integer(5, 40)
  const work = async (): Promise<void> => {
    const faulty = new FaultyLog(log, random)
    faulty.faults = { ...NO_FAULTS, refused: random.next() * 0.2, unanswered: random.next() * 0.3 }
    const producers = new Producers(new Hub(faulty, { maxTailBytes: 1_000, onTrouble: () => {} }), 1_000, silentLogger)
    for (;;) {
      const { isClosed, accepted } = await log.lease(topic, { do: 'look' })
      if (isClosed) return
      await produceOnce(producers, { topic, random, total, after: random.integer(0, accepted) })
    }
  }
  await Promise.all([work(), work()])
  const entries = await log.read(topic, ORIGIN, { count: 1_000, bytes: 1_000_000 })
  const seen = entries.map(({ data }) => data).join(' ')
  const wanted = Array.from({ length: total }, (_, at) => `${at + 1}`).join(' ')
  return seen === wanted ? [] : [`${topic}: ${seen} instead of ${wanted}`]
}

interface Attempt { topic: string, random: Random, total: number, after: number }

async function produceOnce (producers: Producers, { topic, random, total, after }: Attempt): Promise<void> {
  const breakAt = random.chance(0.7) ? random.integer(after, total) : Infinity
  const source = async function * (): AsyncGenerator<string> {
    for (let at = after; at < total; at++) {
      if (at === breakAt) throw new errors.TOPICS_INTERRUPTED('a break')
      yield `${at + 1}`
      if (random.chance(0.3)) await new Promise(resolve => setImmediate(resolve))
    }
  }
  const options = checkProduceOptions({ producerId: 'p', after, batchMs: 0, batchEvents: random.integer(1, 5) })
  try {
    await (await producers.start(topic, source, options)).done
  } catch (error) {
    if (!EXPECTED.includes((error as { code: string }).code)) throw error
  }
}
