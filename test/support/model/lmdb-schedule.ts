import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbLog } from '../../../plugin/topics/log/lmdb/index.ts'
import { silentLogger } from '../redis/redis-server.ts'
import { FaultyLog } from './faulty-log.ts'
import { Random } from './random.ts'
import { runSchedule, someFaults } from './schedule.ts'
import type { Fault } from './schedule.ts'
import { TOPICS, World } from './world.ts'

/** One schedule on an LMDB log with an unreliable network and process restarts; returns all violations. */
export async function runLmdbSchedule (seed: number): Promise<string[]> {
  const random = new Random(seed)
  const world = new World(random)
  const folder = await mkdtemp(join(tmpdir(), 'model-'))
  const maxEvents = random.pick([3, 10, 1_000])
  const open = async (): Promise<FaultyLog> => {
    const log = new FaultyLog(
      new LmdbLog({ folder, durability: 'process', retention: [{ topics: '*', maxEvents }] }),
      random
    )
    await log.start(silentLogger)
    world.addInstance(log, random.pick([1, 200, 100_000]))
    return log
  }
  let log = await open()
  const restart: Fault = async () => {
    await world.rest()
    await world.stop()
    world.instances = []
    log = await open()
  }
  const faults: Fault[] = [
    () => { log.faults = someFaults(world) },
    () => { log.recover() },
    restart,
    async () => { if (random.chance(0.2)) await log.delete(random.pick(TOPICS)) },
    async () => { if (random.chance(0.1)) await log.close(random.pick(TOPICS)) },
    world => { if (world.clients.length < 6) world.addClient() }
  ]
  const problems = await runSchedule(world, faults, random.integer(20, 50), () => { log.recover() })
  await world.stop()
  await rm(folder, { recursive: true })
  return problems
}
