import { createHash } from 'node:crypto'
import { atLeast, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Delivery, Stage } from '../stage.ts'
import type { PublishLoad } from '../load/publisher.ts'

const SIZE = 100
const SIDES = ['floor', 'ours'] as const
type Side = typeof SIDES[number]

/** All clients reconnect at once and have missed the same events. */
export const resumeStorm: Scenario = {
  name: 'resume-storm',
  title: 'Resume storm: 1,000 clients, each has missed 1,000 events',
  about: 'All connect at once with the `Last-Event-ID` of the event before. The floor writes one ready buffer to\n' +
    'each. With own sets every client is also on a topic of its own, which has no events.',
  async run (stage) {
    const shared = await storm(stage, false)
    const own = await storm(stage, true)
    return {
      tables: [{
        columns: ['', 'CPU, µs per delivery', 'million deliveries/s'],
        rows: [
          ...SIDES.map(side => [side, cost(shared, side), rate(shared, side)]),
          ...SIDES.map(side => [`${side}, own sets`, cost(own, side), rate(own, side)])
        ]
      }],
      goals: [
        atLeast('4', 'resume storm, rate to that of the floor', rate(shared, 'ours') / rate(shared, 'floor'), 0.9),
        atLeast('4', 'the same with own sets', rate(own, 'ours') / rate(own, 'floor'), 0.5)
      ]
    }
  }
}

function rate (of: Record<Side, Delivery[]>, side: Side): number {
  return median(of[side].map(one => one.deliveries / one.seconds / 1e6))
}

function cost (of: Record<Side, Delivery[]>, side: Side): number {
  return median(of[side].map(one => one.microsPerDelivery))
}

async function storm (stage: Stage, hasOwn: boolean): Promise<Record<Side, Delivery[]>> {
  const clients = stage.pick(1_000, 20)
  const events = stage.pick(1_000, 30)
  return stage.alternate(SIDES, async (side, round) => {
    const contender = await stage.contender(side)
    const topic = `missed-${hasOwn ? 'own' : 'shared'}-${round}`
    const { lastId = '' } = await stage.publish(contender, published(topic, 1))
    await stage.publish(contender, published(topic, side === 'floor' ? events - 1 : events))
    return stage.connectAll(contender, {
      group: topic,
      paths: hasOwn ? ownPaths(topic, clients) : [`/events?topic=${topic}`],
      clients,
      headers: { 'last-event-id': hasOwn ? cursorOf(topic, lastId) : lastId },
      expect: events
    })
  })
}

function ownPaths (topic: string, clients: number): string[] {
  return Array.from({ length: clients }, (_, at) => `/events?topic=${topic}&topic=${topic}-${at}`)
}

function published (topic: string, events: number): Omit<PublishLoad, 'port'> {
  return { paths: [`/publish?topic=${topic}&keep=1`], events, batch: 10, size: SIZE, inFlight: 8 }
}

/** The cursor of a client of several topics that has read this one up to an event, as described in docs/protocol.md. */
function cursorOf (topic: string, id: string): string {
  const tag = createHash('sha256').update(topic).digest('base64url').slice(0, 6)
  return tag + id.split('-').map(digits => Number(digits).toString(36)).join('-')
}
