import { isBefore, isSameEventId, parseEventId } from '../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import type { TopicEnds } from '../../../plugin/topics/index.ts'
import { endOf } from '../../../plugin/topics/ids/resume.ts'
import { FaultyLog, NO_FAULTS } from './faulty-log.ts'
import type { Step } from './journal.ts'
import { Random } from './random.ts'
import { pause, TOPICS, World } from './world.ts'
import type { ModelClient } from './world.ts'

const EXPIRE_AFTER_MS = 1_000

/**
 * One schedule over several lives of the topics: they are closed, deleted, opened again and forgotten, messages to
 * followers are lost, and clients start with `last` or `since` and lose their connection at any time. Returns all
 * violations.
 */
export async function runLivesSchedule (seed: number): Promise<string[]> {
  const random = new Random(seed)
  const world = new World(random)
  let aheadMs = 0
  const retention = [{ topics: '*', maxEvents: random.pick([3, 1_000]), expireAfterMs: EXPIRE_AFTER_MS }]
  const log = new FaultyLog(new MemoryLog({ retention, now: () => 1_000_000 + aheadMs }), random)
  world.addInstance(log, random.pick([1, 200, 100_000]))
  // Clears data that is cached for a moment of real time, because the clock is set.
  const forget = (): void => {
    aheadMs += EXPIRE_AFTER_MS
    for (const topic of TOPICS) world.instances[0]!.hub.pages.forget(topic)
  }
  const steps = [
    () => { world.begin(world.publish(random.pick(TOPICS), random.integer(1, 4))) },
    () => { world.addClient(random.pick([{}, { last: random.integer(0, 5) }, { sinceMs: random.integer(1, 500) }])) },
    ...Array.from({ length: 3 }, () => () => { random.pick(world.clients).connect(world.instances[0]!) }),
    () => { random.pick(world.clients).disconnect() },
    () => { random.pick(world.clients).connection?.stop() },
    () => { random.pick(world.clients).connection?.go() },
    () => { log.faults = { ...NO_FAULTS, dropped: random.chance(0.5) ? 0.3 : 0 } },
    () => { log.recover() },
    async () => { if (random.chance(0.5)) await log.close(random.pick(TOPICS)) },
    async () => { if (random.chance(0.5)) await log.delete(random.pick(TOPICS)) },
    () => { if (random.chance(0.3)) forget() },
    async () => { for (let turn = random.integer(1, 4); turn > 0; turn--) await pause(0) }
  ]
  world.addClient()
  for (let count = random.integer(30, 80); count > 0; count--) {
    aheadMs += random.integer(0, 20)
    await random.pick(steps)()
  }
  await world.rest()
  log.recover()
  // Clients that are about to receive 204 get it before the topics are open again.
  for (let turn = 0; turn < 20; turn++) await pause(0)
  // A topic that is open again has an end that every client can reach.
  for (const topic of TOPICS) await log.delete(topic)
  for (const client of world.clients) if (client.connection?.isRefused) client.disconnect()
  const ends = await world.arrive()
  const problems = world.clients.flatMap(
    (client, at) => checkClient(client, ends, world).map(problem => `client ${at} ${problem}`)
  )
  await world.stop()
  return problems
}

function checkClient (
  { journal, topics, connection }: ModelClient,
  ends: ReadonlyMap<string, TopicEnds>,
  world: World
): string[] {
  const failures = connection?.failure ? [String(connection.failure)] : []
  return [...failures, ...journal.problems, ...topics.flatMap(topic => {
    const ids = [...world.truth.get(topic)?.keys() ?? []].map(id => parseEventId(id)!)
    return checkTopic(journal.stepsOf(topic), ids, endOf(ends.get(topic)!)).map(problem => `${topic}: ${problem}`)
  })]
}

/** Ids increase over all lives: everything between two steps was received, or a gap was reported there. */
function checkTopic (
  { start, steps }: { start: EventId | undefined, steps: readonly Step[] },
  ids: readonly EventId[],
  end: EventId
): string[] {
  const problems: string[] = []
  let at = start
  let isGap = start === undefined
  for (const step of steps) {
    if (step.kind === 'gap') {
      isGap = true
      if (step.gap.reason === 'unknown' || step.gap.reason === 'fork') {
        problems.push(`a gap ${JSON.stringify(step.gap)}: every cursor is one that was given`)
      }
      continue
    }
    const missing = ids.filter(id => (at === undefined || isBefore(at, id)) && isBefore(id, step.id))
    if (at && !isBefore(at, step.id)) problems.push(`${step.data} came again, or late`)
    if (missing.length > 0 && !isGap) {
      problems.push(`${missing.length} events are missing before ${step.data}, and nothing was reported`)
    }
    at = step.id
    isGap = false
  }
  if (at && !isSameEventId(at, end) && ids.some(id => isBefore(at!, id))) {
    problems.push(`ends at ${at.ms}-${at.n}, the log at ${end.ms}-${end.n}`)
  }
  return problems
}
