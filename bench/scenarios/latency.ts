import type { ContenderName } from '../harness/contenders.ts'
import { median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

const CONTENDERS: ContenderName[] = ['ours', 'nchan + Redis']
const SIZE = 100
const TOPIC = { paths: ['/publish?topic=latency'], size: SIZE }

interface Load { name: ContenderName, label: string, perSecond: number }

/** Latency below saturation. */
export const latency: Scenario = {
  name: 'latency',
  title: 'Latency at half of the saturating rate: one topic, 1,000 clients',
  about: 'The saturating rate is that of 64 requests under way at a time, one event in each. Then events come at\n' +
    'half of it, whether or not earlier ones have arrived; ours also at the rate of nchan.',
  async run (stage) {
    const names = stage.there(CONTENDERS)
    const clients = stage.pick(1_000, 20)
    for (const name of names) {
      await stage.connect(await stage.contender(name), { group: name, paths: ['/events?topic=latency'], clients })
    }
    const loads: Load[] = []
    for (const name of names) {
      loads.push({ name, label: name, perSecond: await saturatingRate(stage, name, clients) / 2 })
    }
    const [ours, nchan] = loads
    if (nchan) loads.push({ ...ours!, label: 'ours, at the rate of nchan', perSecond: nchan.perSecond })
    const labels = loads.map(({ label }) => label)
    const rounds = await stage.alternate(labels, async label => {
      const { name, perSecond } = loads.find(load => load.label === label)!
      const events = Math.ceil(stage.pick(perSecond * 2, 10))
      const publish = { ...TOPIC, events, perSecond }
      return stage.deliver(await stage.contender(name), { group: name, clients, publish })
    })
    for (const name of names) await stage.close(name)
    return {
      tables: [{
        columns: ['', 'events/s', 'CPU, µs per delivery', 'p50, ms', 'p99, ms'],
        rows: loads.map(({ label, perSecond }) => [
          label,
          perSecond,
          median(rounds[label]!.map(one => one.microsPerDelivery)),
          median(rounds[label]!.map(one => one.p50)),
          median(rounds[label]!.map(one => one.p99))
        ])
      }]
    }
  }
}

async function saturatingRate (stage: Stage, name: ContenderName, clients: number): Promise<number> {
  const events = stage.pick(name === 'ours' ? 3_000 : 300, 20)
  const rounds = await stage.alternate([name], async () =>
    stage.deliver(await stage.contender(name), { group: name, clients, publish: { ...TOPIC, events } })
  )
  return median(rounds[name].map(({ seconds }) => events / seconds))
}
