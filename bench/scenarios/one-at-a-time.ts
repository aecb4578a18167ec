import type { ContenderName } from '../harness/contenders.ts'
import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

const CONTENDERS: ContenderName[] = ['floor', 'ours', 'nchan + Redis', '@fastify/sse', 'better-sse', 'fastify-sse-v2']
const PER_SECOND = 40
const SIZE = 100

/** The common case: every event reaches all clients before the next one is published. */
export const oneAtATime: Scenario = {
  name: 'one-at-a-time',
  title: 'One event at a time: one topic, 1,000 clients',
  about: `${PER_SECOND} events of ${SIZE} bytes per second, whether or not earlier ones have arrived. Latency is\n` +
    'measured from the publisher, which puts a stamp into the event, to the client. With a single client,\n' +
    'nearly all of the CPU is that of the publish, with Redis where there is one; it is part of the cost per\n' +
    'delivery.',
  async run (stage) {
    const names = stage.there(CONTENDERS)
    const clients = stage.pick(1_000, 20)
    for (const name of names) {
      await stage.connect(await stage.contender(name), { group: name, paths: ['/events?topic=single'], clients })
    }
    const rounds = await stage.alternate(names, async name => stage.deliver(await stage.contender(name), {
      group: name,
      clients,
      publish: {
        paths: ['/publish?topic=single'], events: stage.pick(PER_SECOND * 3, 5), perSecond: PER_SECOND, size: SIZE
      }
    }))
    for (const name of names) await stage.close(name)
    const alone = await publishCosts(stage, names)
    const cost = (name: ContenderName): number => median(rounds[name].map(one => one.microsPerDelivery))
    return {
      tables: [{
        columns: [
          '', 'CPU, µs per delivery', 'CPU, µs per event with a single client', 'µs for each further client', 'p50, ms',
          'p99, ms'
        ],
        rows: names.map(name => [
          name,
          cost(name),
          alone[name],
          (cost(name) * clients - alone[name]) / (clients - 1),
          median(rounds[name].map(one => one.p50)),
          median(rounds[name].map(one => one.p99))
        ])
      }],
      goals: [
        atMost('1', 'CPU per delivery, one event at a time, to the floor', cost('ours') / cost('floor'), 1.1),
        ...names.filter(name => name !== 'floor' && name !== 'ours')
          .map(name => atMost('1', `the same, to ${name}`, cost('ours') / cost(name), 1))
      ]
    }
  }
}

/** The CPU of one event that only one client receives, in µs. */
async function publishCosts (stage: Stage, names: readonly ContenderName[]): Promise<Record<ContenderName, number>> {
  const groupOf = (name: ContenderName): string => `${name}, single client`
  for (const name of names) {
    const init = { group: groupOf(name), paths: ['/events?topic=alone'], clients: 1 }
    await stage.connect(await stage.contender(name), init)
  }
  const rounds = await stage.alternate(names, async name => stage.deliver(await stage.contender(name), {
    group: groupOf(name),
    clients: 1,
    publish: {
      paths: ['/publish?topic=alone'], events: stage.pick(PER_SECOND * 3, 5), perSecond: PER_SECOND, size: SIZE
    }
  }))
  for (const name of names) await stage.close(groupOf(name))
  return Object.fromEntries(names.map(name => [
    name, median(rounds[name].map(one => one.microsPerDelivery))
  ])) as Record<ContenderName, number>
}
