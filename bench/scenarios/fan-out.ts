import type { ContenderName } from '../harness/contenders.ts'
import { median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'

const CONTENDERS: ContenderName[] = ['floor', 'ours', 'nchan + Redis', '@fastify/sse', 'better-sse', 'fastify-sse-v2']
const SIZE = 100
/** The others write each event separately and would take long for this many. */
const FAST = new Set<ContenderName>(['floor', 'ours'])

/** At saturation: events are published as fast as they are accepted. */
export const fanOut: Scenario = {
  name: 'fan-out',
  title: 'Fan-out: one topic, saturated, 1,000 clients',
  about: 'Events of 100 bytes are published over HTTP as fast as they are accepted, 64 requests under way at a\n' +
    'time; ten events in each request for the floor and ours, one for the peers.',
  async run (stage) {
    const names = stage.there(CONTENDERS)
    const clients = stage.pick(1_000, 20)
    for (const name of names) {
      await stage.connect(await stage.contender(name), { group: name, paths: ['/events?topic=fan-out'], clients })
    }
    const rounds = await stage.alternate(names, async name => {
      const isFast = FAST.has(name)
      return stage.deliver(await stage.contender(name), {
        group: name,
        clients,
        publish: {
          paths: ['/publish?topic=fan-out'],
          events: stage.pick(isFast ? 5_000 : 200, 40),
          batch: isFast ? 10 : 1,
          size: SIZE
        }
      })
    })
    for (const name of names) await stage.close(name)
    const rate = (name: ContenderName): number => median(rounds[name].map(one => one.deliveries / one.seconds / 1e6))
    return {
      tables: [{
        columns: ['', 'CPU, µs per delivery', 'million deliveries/s'],
        rows: names.map(name => [name, median(rounds[name].map(one => one.microsPerDelivery)), rate(name)])
      }]
    }
  }
}
