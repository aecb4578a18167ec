import { MemoryLog } from '../../../plugin/topics/index.ts'
import { FaultyLog } from './faulty-log.ts'
import type { Sabotage } from './faulty-log.ts'
import { Random } from './random.ts'
import { runSchedule, someFaults } from './schedule.ts'
import type { Fault } from './schedule.ts'
import { TOPICS, World } from './world.ts'
import type { ClientKind } from './world.ts'

/** One schedule on a memory log with an unreliable network; returns all violations. */
export async function runMemorySchedule (seed: number, sabotage?: Sabotage, kinds?: ClientKind[]): Promise<string[]> {
  const random = new Random(seed)
  const world = new World(random, kinds)
  const log = new FaultyLog(new MemoryLog({
    retention: [{ topics: '*', maxEvents: random.pick([3, 10, 1_000]) }]
  }), random, sabotage)
  world.addInstance(log, random.pick([1, 200, 100_000]))
  const faults: Fault[] = [
    () => { log.faults = someFaults(world) },
    () => { log.recover() },
    async () => { if (random.chance(0.2)) await log.delete(random.pick(TOPICS)) },
    async () => { if (random.chance(0.1)) await log.close(random.pick(TOPICS)) },
    world => { if (world.clients.length < 6) world.addClient() }
  ]
  faults.push(faults[0]!, faults[1]!)
  const problems = await runSchedule(world, faults, random.integer(20, 60), () => { log.recover() })
  await world.stop()
  return problems
}
