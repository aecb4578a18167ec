import { cpuSeconds } from '../harness/cpu.ts'
import { BenchRedis } from '../harness/redis.ts'
import { Program } from '../harness/rpc.ts'
import { atLeast, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

const SIDES = {
  'bare Fastify': { file: 'servers/bare-publish', env: {} },
  'ours in memory': { file: 'servers/service', env: { LOG: 'memory' } },
  'ours on Redis': { file: 'servers/service', env: { LOG: 'redis' } },
  'ours on LMDB, durable for the process': { file: 'servers/service', env: { LOG: 'lmdb', DURABILITY: 'process' } },
  'ours on LMDB, durable on disk': { file: 'servers/service', env: { LOG: 'lmdb', DURABILITY: 'disk' } }
} as const
type Side = keyof typeof SIDES
const names = Object.keys(SIDES) as Side[]

interface Cost { rate: number, server: number, redis: number }

/** Publishing over HTTP to the service. */
export const httpPublish: Scenario = {
  name: 'http-publish',
  title: 'Publishing over HTTP: single events of 100 bytes',
  about: '`POST /topics/{topic}/events` of the service as JSON, 64 connections with one request under way on each,\n' +
    'one topic without readers, compared with a bare Fastify POST with the same schema, which only counts.',
  async run (stage) {
    const redis = await BenchRedis.start()
    const programs = await startAll(redis)
    const rounds = await stage.alternate(names, side =>
      measure(stage, programs[side], side === 'ours on Redis' ? redis : undefined)
    )
    for (const program of Object.values(programs)) await program.stop()
    await redis.stop()
    const of = (side: Side, pick: (cost: Cost) => number): number => median(rounds[side].map(pick))
    const toBare = (side: Side): number => of(side, ({ rate }) => rate) / of('bare Fastify', ({ rate }) => rate)
    return {
      tables: [{
        columns: ['', 'publishes/s', 'CPU of the server, µs per publish', 'CPU of Redis, µs per publish'],
        rows: names.map(side => [
          side, of(side, ({ rate }) => rate), of(side, ({ server }) => server), of(side, ({ redis }) => redis)
        ])
      }],
      goals: names.slice(2).map(side =>
        atLeast('5', `HTTP publish, ${side}, rate to that of a bare Fastify POST`, toBare(side), 0.6)
      )
    }
  }
}

async function startAll (redis: BenchRedis): Promise<Record<Side, Program>> {
  const started: Array<[Side, Program]> = []
  for (const side of names) {
    const { file, env } = SIDES[side]
    started.push([side, await Program.start(file, { ...env, REDIS_URL: redis.url })])
  }
  return Object.fromEntries(started) as Record<Side, Program>
}

async function measure (stage: Stage, program: Program, redis: BenchRedis | undefined): Promise<Cost> {
  const events = stage.pick(15_000, 200)
  const port = await program.call<number>('port')
  const usedBefore = [cpuSeconds([program.pid]), redis === undefined ? 0 : cpuSeconds([redis.pid])] as const
  const { seconds } = await stage.publish({ port }, {
    paths: ['/topics/rate/events'], events, size: 100, contentType: 'application/json', json: true
  })
  return {
    rate: events / seconds,
    server: (cpuSeconds([program.pid]) - usedBefore[0]) * 1e6 / events,
    redis: redis === undefined ? NaN : (cpuSeconds([redis.pid]) - usedBefore[1]) * 1e6 / events
  }
}
