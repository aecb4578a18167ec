import type { Contender } from '../harness/contenders.ts'
import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Delivery, Stage } from '../stage.ts'

const SIZE = 100
/** Deliveries per second of every variant: the more clients, the fewer events. */
const DELIVERIES_PER_SECOND = 40_000
const SECONDS = 3

interface Variant { name: string, clients: number, hasOwn: boolean }
type Cost = Delivery & { loopMs: number }

/** Every client has its own inbox in addition to a topic that all share. */
export const ownSets: Scenario = {
  name: 'own-sets',
  title: 'Own sets: every client on a shared topic and on one of its own',
  about: 'Events of 100 bytes to the shared topic, 40,000 deliveries per second. The longest turn of the event loop\n' +
    'is that of `monitorEventLoopDelay`. The base is ours with the shared topic only.',
  async run (stage) {
    const variants: Variant[] = [
      { name: 'shared topic only, 1,000 clients', clients: stage.pick(1_000, 10), hasOwn: false },
      { name: 'own sets, 1,000 clients', clients: stage.pick(1_000, 10), hasOwn: true },
      { name: 'own sets, 10,000 clients', clients: stage.pick(10_000, 20), hasOwn: true }
    ]
    const ours = await stage.contender('ours')
    const results: Array<{ name: string, cost: number, loopMs: number, p99: number }> = []
    for (const variant of variants) {
      const rounds = await measure(stage, ours, variant)
      const of = (pick: (one: Cost) => number): number => median(rounds.map(pick))
      results.push({
        name: variant.name,
        cost: of(one => one.microsPerDelivery),
        loopMs: of(one => one.loopMs),
        p99: of(one => one.p99)
      })
    }
    const [base, ...others] = results
    return {
      tables: [{
        columns: ['', 'CPU, µs per delivery', 'longest turn, ms', 'p99, ms'],
        rows: results.map(({ name, cost, loopMs, p99 }) => [name, cost, loopMs, p99])
      }],
      goals: others.flatMap(({ name, cost, loopMs }) => [
        atMost('2', `${name}: CPU per delivery, to the shared topic only`, cost / base!.cost, 1.5),
        atMost('2', `${name}: longest turn of the event loop`, loopMs, 20, 'ms')
      ])
    }
  }
}

async function measure (stage: Stage, ours: Contender, { clients, hasOwn }: Variant): Promise<Cost[]> {
  const paths = Array.from({ length: clients }, (_, at) => `/events?topic=shared${hasOwn ? `&topic=own-${at}` : ''}`)
  await stage.connect(ours, { group: 'own', paths, clients })
  const perSecond = stage.pick(DELIVERIES_PER_SECOND / clients, 20)
  const events = stage.pick(Math.ceil(perSecond * SECONDS), 4)
  const rounds = await stage.alternate(['ours'], async () => {
    await ours.program!.call('watchLoop')
    const delivery = await stage.deliver(ours, {
      group: 'own',
      clients,
      publish: { paths: ['/publish?topic=shared'], events, perSecond, size: SIZE }
    })
    return { ...delivery, loopMs: await ours.program!.call<number>('loopDelay') }
  })
  await stage.close('own')
  return rounds.ours
}
