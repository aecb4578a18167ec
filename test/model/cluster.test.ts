import t from 'tap'
import { clusterStage } from '../support/model/cluster-stage.ts'
import { runRedisSchedule } from '../support/model/redis-schedule.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'
import { startCluster } from '../support/redis/redis-cluster.ts'

t.test('every client receives every surviving event once and in order, and a gap for the others, while a cluster moves slots and fails over', async t => {
  const stage = clusterStage(await startCluster(t, { nodeTimeoutMs: 1_500 }))
  t.same(await whatIsWrong(seeds(8), seed => runRedisSchedule(stage, seed)), {})
})
