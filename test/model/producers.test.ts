import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { TopicLog } from '../../plugin/topics/index.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { runProducersSchedule } from '../support/model/producers/producers-schedule.ts'
import { firstSeeds, seeds, whatIsWrong } from '../support/model/seeds.ts'
import { RedisServer, silentLogger } from '../support/redis/redis-server.ts'

// The waits of a producer do not keep a process alive.
const awake = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(awake) })

const LOGS: Record<string, (t: Test) => Promise<TopicLog>> = {
  memory: async () => new MemoryLog(),
  LMDB: async t => new LmdbLog({ folder: t.testdir() }),
  Redis: async t => new RedisLog({ connection: (await RedisServer.start(t)).url, prefix: `${randomUUID()}:` })
}

for (const [name, make] of Object.entries(LOGS)) {
  t.test(`two processes that continue one producer at the same time lose nothing and repeat nothing, on the ${name} log`, async t => {
    const log = await make(t)
    await log.start(silentLogger)
    t.teardown(() => log.stop())
    t.same(await whatIsWrong(seeds(25), seed => runProducersSchedule(log, `t${seed}`, seed)), {})
  })
}

// A model test that cannot fail proves nothing.
const BROKEN: Record<string, (log: MemoryLog) => void> = {
  'an append without a lease': log => {
    const append = log.append.bind(log)
    log.append = (topic, events) => append(topic, events)
  },
  'a lease that counts one event too few': log => {
    const lease = log.lease.bind(log)
    log.lease = async (topic, request) => {
      const reply = await lease(topic, request)
      return request.do === 'take' ? { ...reply, accepted: Math.max(0, reply.accepted - 1) } : reply
    }
  }
}
for (const [what, sabotage] of Object.entries(BROKEN)) {
  t.test(`${what} is detected`, async t => {
    const log = new MemoryLog()
    sabotage(log)
    const isWrong = async (seed: number): Promise<string[]> =>
      runProducersSchedule(log, `t${seed}`, seed).catch((error: unknown) => [String(error)])
    t.not(Object.keys(await whatIsWrong(firstSeeds(50), isWrong, 1, / instead of /)).length, 0)
  })
}
