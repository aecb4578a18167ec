import t from 'tap'
import { slotOf } from '../../plugin/topics/log/redis/slot.ts'
import { failOver } from '../support/model/cluster-stage.ts'
import { startRedisStage } from '../support/model/producers/producer-redis-stage.ts'
import { runProducerRounds } from '../support/model/producers/producer-round.ts'
import type { ProducerStage } from '../support/model/producers/producer-round.ts'
import { seeds } from '../support/model/seeds.ts'
import { moveSlot, startCluster } from '../support/redis/redis-cluster.ts'

const PREFIX = 'model:'

t.test('there is one writer at a time, nothing is lost or repeated, and no reader waits, while a cluster moves slots and fails over', async t => {
  const servers = await startCluster(t, { nodeTimeoutMs: 1_500 })
  const cluster = servers.map(({ port }) => ({ host: '127.0.0.1', port }))
  const move: ProducerStage['faults'][number] = (topic, random) =>
    moveSlot(servers, slotOf(`${PREFIX}{${topic}}`), random.integer(0, 1))
  const faults = [
    move,
    move,
    move,
    (topic: string, random: { integer: (min: number, max: number) => number }) => failOver(
      servers,
      random.integer(0, 2)
    )
  ]
  const stage = await startRedisStage(t, {
    connection: { cluster }, replicas: 1, leaseMs: 2_500, faults, isLossy: false
  }, PREFIX)
  t.same(await runProducerRounds(t, [stage], seeds(4)), {})
})
