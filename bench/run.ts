import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { BenchRedis, startServer } from './harness.ts'
import type { Round } from './harness.ts'
import { CLIENTS, IDLE_CLIENTS, LIVE, LIVE_OF_PEER, MANY, MISSED, runFanOut, runIdle, runManyTopics, runPublishes, runStorm } from './scenarios.ts'

/**
 * Runs every scenario, ours, the floor and a peer in turn in one run, and writes docs/benchmarks.md. Ratios are what counts:
 * both ends, Redis and the server share one machine.
 */

/** Rounds that count, after those that warm every server up: a cold one compiles while it serves. */
const ROUNDS = 5
const WARM_UP_ROUNDS = 2

const redis = await BenchRedis.start()
const [floor, ours, peer] = [await startServer('floor-server', redis), await startServer('topics-server', redis), await startServer('peer-server', redis)]
const idle = { floor: await runIdle(floor, '/live'), ours: await runIdle(ours, '/events?topic=idle'), peer: await runIdle(peer, '/live') }

type Rounds<T> = Record<'fanOutFloor' | 'fanOutOurs' | 'fanOutPeer' | 'stormFloor' | 'stormOurs' | 'many', T[]>
const rounds: Rounds<Round> = { fanOutFloor: [], fanOutOurs: [], fanOutPeer: [], stormFloor: [], stormOurs: [], many: [] }
const publishes: Record<'topics' | 'xadd', number[]> = { topics: [], xadd: [] }
for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
  const keep = <T>(list: T[], value: T): void => { if (round >= WARM_UP_ROUNDS) list.push(value) }
  keep(rounds.fanOutFloor, await runFanOut({ server: floor, redis, path: '/live', topic: '', live: LIVE, round }))
  keep(rounds.fanOutOurs, await runFanOut({ server: ours, redis, path: `/events?topic=live${round}`, topic: `live${round}`, live: LIVE, round }))
  keep(rounds.fanOutPeer, await runFanOut({ server: peer, redis, path: '/live', topic: '', live: LIVE_OF_PEER, round }))
  keep(rounds.stormFloor, await runStorm(floor, redis, '/replay', '', round))
  keep(rounds.stormOurs, await runStorm(ours, redis, `/events?topic=missed${round}`, `missed${round}`, round))
  keep(rounds.many, await runManyTopics(ours, redis, round))
  keep(publishes.xadd, await runPublishes(ours, 'xadd', round))
  keep(publishes.topics, await runPublishes(ours, 'topics', round))
}
const text = report()
writeFileSync(new URL('../../docs/benchmarks.md', import.meta.url), text)
process.stdout.write(text)
for (const { child } of [floor, ours, peer]) child.kill()
redis.stop()

function report (): string {
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim()
  const speeds = {
    floor: speedOf(rounds.fanOutFloor, LIVE.events),
    ours: speedOf(rounds.fanOutOurs, LIVE.events),
    '@fastify/sse': speedOf(rounds.fanOutPeer, LIVE_OF_PEER.events)
  }
  const storm = { floor: speedOf(rounds.stormFloor, MISSED.events), ours: speedOf(rounds.stormOurs, MISSED.events) }
  const many = { ours: speedOf(rounds.many, MANY.events * MANY.each) }
  const inThousands = (values: readonly number[]): number[] => values.map(value => value / 1e3)
  return [
    '# Benchmarks',
    '',
    'Written by `npm run bench`; ratios of one run count, not the times: the load, Redis and the server share one machine.',
    '',
    `Commit ${commit}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Redis ${BenchRedis.version()}.`,
    '',
    'The floor is a bare node:http server that writes one shared Buffer per client per turn of the loop and keeps no log.',
    'Ours is `app.topics` on the Redis log: every event goes through Redis and back before a client gets it. The peer,',
    '@fastify/sse, fans out in memory as its README shows, and gets fewer events, because it writes each by itself.',
    `${WARM_UP_ROUNDS} rounds warm all up and do not count: a process that has just started also pays for compiling its code.`,
    '',
    `## Fan-out: ${shown(LIVE.events)} events of 100 bytes to ${shown(CLIENTS)} clients (the peer: ${shown(LIVE_OF_PEER.events)} events)`,
    '',
    ...table('deliveries, M/s', speeds),
    '',
    `Ours is at ${ratio(speeds.ours, speeds.floor)} of the floor, and at ${ratio(speeds.ours, speeds['@fastify/sse'])} times the peer. Reads of events from Redis: ${reads(rounds.fanOutOurs)}.`,
    '',
    `## Resume storm: ${shown(CLIENTS)} clients connect at once, each has missed ${shown(MISSED.events)} events`,
    '',
    ...table('deliveries, M/s', storm),
    '',
    `Ours is at ${ratio(storm.ours, storm.floor)} of the floor. Reads of events from Redis, each round: ${reads(rounds.stormOurs)}.`,
    '',
    `## Many topics: ${shown(CLIENTS)} clients, each on ${MANY.each} of ${MANY.topics} topics, ${MANY.events} events to each topic`,
    '',
    ...table('deliveries, M/s', many),
    '',
    '## Publishing: one event each, 64 under way at once, through one connection to Redis',
    '',
    ...table('publishes, thousand/s', { 'bare XADD': inThousands(publishes.xadd), ours: inThousands(publishes.topics) }),
    '',
    `Ours is at ${ratio(publishes.topics, publishes.xadd)} of the bare XADD: it also checks, numbers, trims and tells all processes.`,
    '',
    `## Memory of a connection that waits: ${shown(IDLE_CLIENTS)} connections, heap and buffers after a collection`,
    '',
    '| | KiB each |',
    '|---|---|',
    ...Object.entries({ floor: idle.floor, ours: idle.ours, '@fastify/sse': idle.peer }).map(([name, bytes]) => `| ${name} | ${(bytes / 1024).toFixed(1)} |`),
    ''
  ].join('\n')
}

function speedOf (of: readonly Round[], events: number): number[] {
  return of.map(({ seconds }) => events * CLIENTS / seconds / 1e6)
}

function table (unit: string, rows: Record<string, readonly number[]>): string[] {
  const cells = (values: readonly number[]): string => `${values.map(value => value.toFixed(2)).join(', ')} | ${median(values).toFixed(2)}`
  return [`| | ${unit}, each round | median |`, '|---|---|---|', ...Object.entries(rows).map(([name, values]) => `| ${name} | ${cells(values)} |`)]
}

function ratio (a: readonly number[], b: readonly number[]): string {
  return (median(a) / median(b)).toFixed(2)
}

function reads (of: readonly Round[]): string {
  return of.map(({ reads }) => reads).join(', ')
}

function median (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function shown (count: number): string {
  return count.toLocaleString('en')
}
