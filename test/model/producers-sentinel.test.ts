import t from 'tap'
import { startRedisStage } from '../support/model/producers/producer-redis-stage.ts'
import { runProducerRounds } from '../support/model/producers/producer-round.ts'
import { seeds } from '../support/model/seeds.ts'
import { MASTER_NAME, SentinelGroup } from '../support/redis/redis-sentinel.ts'

// With WAIT nothing that was acknowledged may be missing; without it only what a failover lost, where numbers were
// skipped.
for (const replicas of [1, 0]) {
  t.test(`there is one writer at a time, nothing is repeated, and no reader waits, while Sentinels fail over, with ${replicas} replicas required`, async t => {
    const group = await SentinelGroup.start(t, { downAfterMs: 1_000 })
    const connection = { sentinels: [...group.sentinels], name: MASTER_NAME }
    const failOver = (): Promise<void> => group.failOver()
    const stage = await startRedisStage(t, {
      connection, replicas, leaseMs: 2_500, faults: [failOver, failOver, failOver], isLossy: replicas === 0
    })
    t.same(await runProducerRounds(t, [stage], seeds(2)), {})
  })
}
