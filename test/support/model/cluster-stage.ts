import { slotOf } from '../../../plugin/topics/log/redis/slot.ts'
import { until } from '../until.ts'
import { mastersOf, moveSlot, untilWhole } from '../redis/redis-cluster.ts'
import type { RedisServer } from '../redis/redis-server.ts'
import { TOPICS } from './world.ts'
import type { RedisStage } from './redis-schedule.ts'

/**
 * Faults of a cluster: a master is killed and its replica takes over; a topic's slot moves to another node while in
 * use.
 */
export function clusterStage (servers: readonly RedisServer[]): RedisStage {
  return {
    connection: { cluster: servers.map(({ port }) => ({ host: '127.0.0.1', port })) },
    forksTold: 0,
    recover: async () => {},
    faults: ({ random }, prefix) => {
      const move = async (): Promise<void> =>
        moveSlot(servers, slotOf(`${prefix}{${random.pick(TOPICS)}}`), random.integer(0, 1))
      return [move, move, async () => { if (random.chance(0.3)) await failOver(servers, random.integer(0, 2)) }]
    }
  }
}

/** Kills a master, waits until its replica has taken over, and restarts it as a replica. */
export async function failOver (servers: readonly RedisServer[], which: number): Promise<void> {
  const master = (await mastersOf(servers))[which]!
  await master.kill()
  await until(async () => (await mastersOf(servers)).length === 3)
  await master.start()
  await untilWhole(servers)
}
