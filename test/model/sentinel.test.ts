import t from 'tap'
import { runRedisSchedule } from '../support/model/redis-schedule.ts'
import type { RedisStage } from '../support/model/redis-schedule.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'
import { MASTER_NAME, SentinelGroup } from '../support/redis/redis-sentinel.ts'

t.test('every client receives every surviving event once and in order, and a gap for the others, while Sentinels fail over', async t => {
  const group = await SentinelGroup.start(t, { downAfterMs: 1_000 })
  const stage: RedisStage = {
    connection: { sentinels: [...group.sentinels], name: MASTER_NAME },
    forksTold: 0,
    recover: async () => {},
    faults: ({ random }) => [async () => { if (random.chance(0.5)) await group.failOver() }]
  }
  t.same(await whatIsWrong(seeds(3), seed => runRedisSchedule(stage, seed)), {})
})
