import t from 'tap'
import { MemoryLog } from '../../topics/index.ts'
import { FaultyLog } from '../support/model/faulty-log.ts'
import { Random } from '../support/model/random.ts'
import { runSchedule, someFaults } from '../support/model/schedule.ts'
import type { Fault } from '../support/model/schedule.ts'
import { TOPICS, World } from '../support/model/world.ts'
import type { Rooms } from '../support/model/world.ts'

const SCHEDULES = Number(process.env.MODEL_SCHEDULES ?? 2_000)
const ONLY = process.env.MODEL_SEED

/** One schedule on a memory log with a bad network; returns what is wrong. */
async function runOne (seed: number, rooms?: Rooms): Promise<string[]> {
  const random = new Random(seed)
  const world = new World(random, rooms)
  const log = new FaultyLog(new MemoryLog({ retention: [{ topics: '*', maxEvents: random.pick([3, 10, 1_000]) }] }), random)
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

t.test('every client has every event once and in order, or is told what it missed', async t => {
  const seeds = ONLY === undefined ? Array.from({ length: SCHEDULES }, (_, at) => at + 1) : [Number(ONLY)]
  for (const seed of seeds) {
    const problems = await runOne(seed)
    if (problems.length > 0) t.fail(`seed ${seed}: rerun it with MODEL_SEED=${seed}`, { problems })
  }
  t.pass(`${seeds.length} schedules`)
})
