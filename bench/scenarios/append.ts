import { cpuSeconds } from '../harness/cpu.ts'
import { BenchRedis } from '../harness/redis.ts'
import { Program } from '../harness/rpc.ts'
import { atLeast, median } from '../scenario.ts'
import type { Goal, Scenario } from '../scenario.ts'
import type { RateLoad } from '../servers/publish-log.ts'

const SIZE = 100
const IN_FLIGHT = 64

/** Each side, with the side that it is compared to. */
const SIDES = {
  'bare XADD, one stream': { log: 'xadd', topics: 1, inFlight: IN_FLIGHT },
  'ours on Redis, one topic': { log: 'redis', topics: 1, inFlight: IN_FLIGHT },
  'bare XADD, 64 streams': { log: 'xadd', topics: 64, inFlight: IN_FLIGHT },
  'ours on Redis, 64 topics': { log: 'redis', topics: 64, inFlight: IN_FLIGHT },
  'bare XADD, one at a time': { log: 'xadd', topics: 1, inFlight: 1 },
  'ours on Redis, one at a time': { log: 'redis', topics: 1, inFlight: 1 },
  'ours on LMDB, one topic': { log: 'lmdb', topics: 1, inFlight: IN_FLIGHT },
  'ours on LMDB, one at a time': { log: 'lmdb', topics: 1, inFlight: 1 }
} as const satisfies Record<string, Omit<RateLoad, 'events' | 'size'>>
type Side = keyof typeof SIDES

/** Publishing in a process, without HTTP and without readers. */
export const append: Scenario = {
  name: 'append',
  title: 'Publishing in a process: single events of 100 bytes',
  about: `\`app.topics.publish()\`, ${IN_FLIGHT} under way at a time unless it says otherwise, compared with a bare\n` +
    'XADD of the same client library on one connection. CPU is that of the process and of Redis. LMDB is durable on\n' +
    'disk.',
  async run (stage) {
    const redis = await BenchRedis.start()
    const program = await Program.start('servers/publish-log', { REDIS_URL: redis.url })
    const names = Object.keys(SIDES) as Side[]
    const rounds = await stage.alternate(names, async side => {
      const events = stage.pick(SIDES[side].inFlight === 1 ? 2_000 : 20_000, 200)
      const before = cpuSeconds([program.pid, redis.pid])
      const seconds = await program.call<number>('rate', { ...SIDES[side], events, size: SIZE })
      return { rate: events / seconds, cpu: (cpuSeconds([program.pid, redis.pid]) - before) / events }
    })
    await program.call('stop')
    await program.stop()
    await redis.stop()
    const rate = (side: Side): number => median(rounds[side].map(one => one.rate))
    const goal = (text: string, side: Side, base: Side, limit: number): Goal =>
      atLeast('5', text, rate(side) / rate(base), limit)
    return {
      tables: [{
        columns: ['', 'publishes/s', 'CPU, µs per publish'],
        rows: names.map(side => [side, rate(side), median(rounds[side].map(one => one.cpu * 1e6))])
      }],
      goals: [
        goal('Redis append, rate to that of a bare XADD', 'ours on Redis, one topic', 'bare XADD, one stream', 0.6),
        goal('the same, every publish to another topic', 'ours on Redis, 64 topics', 'bare XADD, 64 streams', 0.6),
        goal('LMDB on disk, 64 at a time to one at a time', 'ours on LMDB, one topic', 'ours on LMDB, one at a time', 5)
      ]
    }
  }
}
