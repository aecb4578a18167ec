import { NO_FAULTS } from './faulty-log.ts'
import type { Faults } from './faulty-log.ts'
import { pause, TOPICS } from './world.ts'
import type { World } from './world.ts'

/** What a schedule may do in addition to publishing and connecting; a fault caused by the environment. */
export type Fault = (world: World) => Promise<void> | void

/** Runs a random schedule of steps, lets everything settle, and returns all violations. */
export async function runSchedule (
  world: World,
  faults: readonly Fault[],
  steps: number,
  recover: Fault
): Promise<string[]> {
  const { random } = world
  for (let count = random.integer(1, 4); count > 0; count--) world.addClient()
  for (let step = 0; step < steps; step++) {
    const chance = random.next()
    if (chance < 0.35) world.begin(world.publish(random.pick(TOPICS), random.integer(1, 4)))
    else if (chance < 0.4) world.begin(world.retry())
    else if (chance < 0.6) random.pick(world.clients).connect(random.pick(world.instances))
    else if (chance < 0.68) random.pick(world.clients).disconnect()
    else if (chance < 0.74) random.pick(world.clients).connection?.stop()
    else if (chance < 0.8) random.pick(world.clients).connection?.go()
    else if (chance < 0.9 && faults.length > 0) await random.pick(faults)(world)
    else await turns(random.integer(1, 3))
  }
  await world.rest()
  await recover(world)
  return world.settle()
}

async function turns (count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await pause(0)
}

export function someFaults (world: World): Faults {
  const level = () => world.random.chance(0.5) ? world.random.next() * 0.6 : 0
  return { ...NO_FAULTS, dropped: level(), repeated: level(), held: level(), refused: level(), unanswered: level() }
}
