import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'

const PER_SECOND = 40
const SIZE = 1_000

/** Some clients stop reading; the others must not be affected. */
export const stalledClients: Scenario = {
  name: 'stalled-clients',
  title: 'Stalled clients: one topic, 1,000 clients, one in ten stops reading',
  about: `${PER_SECOND} requests per second, each with ten events of ${SIZE} bytes. Latency is that of the clients\n` +
    'that read. In the end the stalled clients read again; the run fails unless each of them receives every event.',
  async run (stage) {
    const ours = await stage.contender('ours')
    const clients = stage.pick(1_000, 20)
    const events = stage.pick(1_200, 40)
    const publish = { paths: ['/publish?topic=stalled'], events, batch: 10, perSecond: PER_SECOND, size: SIZE }
    await stage.connect(ours, { group: 'stalled', paths: ['/events?topic=stalled'], clients })
    const all = await stage.alternate(['ours'], () => stage.deliver(ours, { group: 'stalled', clients, publish }))
    const heapBefore = await ours.program!.call<number>('memory')
    await stage.clients.call('stall', { group: 'stalled', share: 0.1 })
    const rest = await stage.deliver(ours, { group: 'stalled', clients: clients * 0.9, publish })
    const heldBytes = await ours.program!.call<number>('memory') - heapBefore
    await stage.clients.call('resume', { group: 'stalled' })
    await stage.close('stalled')
    const p99 = median(all.ours.map(one => one.p99))
    return {
      tables: [{
        columns: ['', 'p50, ms', 'p99, ms'],
        rows: [
          ['all clients read', median(all.ours.map(one => one.p50)), p99],
          ['the others, while one in ten is stalled', rest.p50, rest.p99]
        ]
      }],
      goals: [
        atMost('stalled', 'p99 of the others, to that without stalled clients', rest.p99 / p99, 1.2),
        atMost('stalled', 'memory held for each stalled client', heldBytes / (clients * 0.1) / 1_024, 256, 'KiB')
      ]
    }
  }
}
