import type { ContenderName } from '../harness/contenders.ts'
import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Delivery, Stage } from '../stage.ts'

const PER_SECOND = 10
const SIZES = [100, 300, 1_000, 10_000]

type Side = 'ours, not compressed' | 'ours, gzip' | 'gzip per client'
const SIDES: Record<Side, { contender: ContenderName, encoding: string }> = {
  'ours, not compressed': { contender: 'ours', encoding: 'identity' },
  'ours, gzip': { contender: 'ours', encoding: 'gzip' },
  'gzip per client': { contender: 'gzip per client', encoding: 'gzip' }
}
const names = Object.keys(SIDES) as Side[]

/** A frame is compressed once and not once for each client. */
export const compression: Scenario = {
  name: 'compression',
  title: 'Compression: one topic, 300 clients that accept gzip',
  about: `${PER_SECOND} events per second, one at a time, whose data looks like JSON. Bytes are those of the body.\n` +
    'The peer is node:http with a gzip stream for each client, flushed after each event, as in compressing\n' +
    'middleware; it keeps no log, and each of its streams refers back to earlier events.',
  async run (stage) {
    const rows: Array<{ size: number, side: Side, cost: number, bytes: number, p99: number }> = []
    for (const size of SIZES) {
      const rounds = await measure(stage, size)
      for (const side of names) {
        const of = (pick: (one: Delivery) => number): number => median(rounds[side].map(pick))
        const bytes = of(one => one.bytes / one.deliveries)
        rows.push({ size, side, cost: of(one => one.microsPerDelivery), bytes, p99: of(one => one.p99) })
      }
    }
    const cost = (size: number, side: Side): number => rows.find(row => row.size === size && row.side === side)!.cost
    const bytesOf = (size: number, side: Side): number =>
      rows.find(row => row.size === size && row.side === side)!.bytes
    const [plain, gzip, each] = names as [Side, Side, Side]
    return {
      tables: [{
        columns: ['bytes of data', '', 'CPU, µs per delivery', 'bytes per delivery', 'p99, ms'],
        rows: rows.map(({ size, side, cost, bytes, p99 }) => [size, side, cost, bytes, p99])
      }],
      goals: [
        ...SIZES.map(size => atMost(
          '6', `CPU per delivery with gzip, ${size} bytes, to that without`, cost(size, gzip) / cost(size, plain), 1.15
        )),
        atMost('6', 'bytes per delivery with gzip, 1,000 bytes, to those without',
          bytesOf(1_000, gzip) / bytesOf(1_000, plain), 0.6),
        atMost('6', 'CPU per delivery with gzip, 1,000 bytes, to a gzip stream per client',
          cost(1_000, gzip) / cost(1_000, each), 0.5)
      ]
    }
  }
}

async function measure (stage: Stage, size: number): Promise<Record<Side, Delivery[]>> {
  const clients = stage.pick(300, 20)
  for (const name of names) {
    const { contender, encoding } = SIDES[name]
    const headers = { 'accept-encoding': encoding }
    await stage.connect(await stage.contender(contender), {
      group: name, paths: [`/events?topic=${encoding}`], clients, headers
    })
  }
  const rounds = await stage.alternate(names, async name => {
    const { contender, encoding } = SIDES[name]
    return stage.deliver(await stage.contender(contender), {
      group: name,
      clients,
      publish: {
        paths: [`/publish?topic=${encoding}`],
        events: stage.pick(PER_SECOND * 3, 5),
        perSecond: PER_SECOND,
        size,
        looksLikeJson: true
      }
    })
  })
  for (const name of names) await stage.close(name)
  return rounds
}
