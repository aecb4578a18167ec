import { fork, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { Redis } from 'ioredis'
import type { LoadNews, LoadOrder } from './load.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/**
 * Runs every scenario, ours and the floor in turn in one run, and writes docs/benchmarks.md. Ratios are what counts:
 * both ends, Redis and the server share one machine.
 */
const CLIENTS = 1_000
/** Rounds that count, after those that warm every server up: a cold one compiles while it serves. */
const ROUNDS = 5
const WARM_UP_ROUNDS = 2
const LIVE = { events: 10_000, batch: 100 }
const MISSED = { events: 1_000, batch: 100 }

interface Server { child: ChildProcess, port: number }
interface Round { seconds: number, bytes: number, reads: number }
interface Result { floor: Round[], ours: Round[] }

const redisPort = await freePort()
const redis = spawn('redis-server', ['--port', `${redisPort}`, '--save', '', '--bind', '127.0.0.1'], { stdio: 'ignore' })
const client = new Redis(redisPort, '127.0.0.1', { maxRetriesPerRequest: null })
client.on('error', () => {})
await client.ping()

const floor = await startServer('floor-server')
const ours = await startServer('topics-server')
const fanOut: Result = { floor: [], ours: [] }
const storm: Result = { floor: [], ours: [] }
for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
  const counts = round >= WARM_UP_ROUNDS
  const keep = (rounds: Round[], result: Round): void => { if (counts) rounds.push(result) }
  keep(fanOut.floor, await runFanOut(floor, '/live', round))
  keep(fanOut.ours, await runFanOut(ours, `/events?topic=live${round}`, round))
  keep(storm.floor, await runStorm(floor, '/replay', round))
  keep(storm.ours, await runStorm(ours, `/events?topic=missed${round}`, round))
}
report()
for (const { child } of [floor, ours]) child.kill()
client.disconnect()
redis.kill()

async function runFanOut (server: Server, path: string, round: number): Promise<Round> {
  const marker = `END-${round}`
  const load = startLoad({ port: server.port, path, clients: CLIENTS, marker })
  await newsOf(load, 'connected')
  const startedAt = Date.now()
  const before = await reads()
  order(server, { kind: 'publish', topic: `live${round}`, ...LIVE, marker })
  return finish(load, startedAt, before)
}

async function runStorm (server: Server, path: string, round: number): Promise<Round> {
  const marker = `END-${round}`
  order(server, { kind: 'prepare', topic: `missed${round}`, ...MISSED, marker })
  const [{ lastEventId }] = await once(server.child, 'message') as [Extract<ServerNews, { kind: 'prepared' }>]
  const before = await reads()
  const startedAt = Date.now()
  return finish(startLoad({ port: server.port, path, clients: CLIENTS, marker, ...(lastEventId === undefined ? {} : { lastEventId }) }), startedAt, before)
}

async function finish (load: ChildProcess, startedAt: number, readsBefore: number): Promise<Round> {
  const { bytes, finishedAt } = await newsOf(load, 'done') as Extract<LoadNews, { kind: 'done' }>
  load.kill()
  return { seconds: (finishedAt - startedAt) / 1_000, bytes, reads: await reads() - readsBefore }
}

async function startServer (name: string): Promise<Server> {
  const child = fork(new URL(`./${name}.js`, import.meta.url), { env: { ...process.env, REDIS_URL: `redis://127.0.0.1:${redisPort}` } })
  const [{ port }] = await once(child, 'message') as [Extract<ServerNews, { kind: 'listening' }>]
  return { child, port }
}

function startLoad (what: LoadOrder): ChildProcess {
  const child = fork(new URL('./load.js', import.meta.url))
  child.send(what)
  return child
}

function order ({ child }: Server, what: ServerOrder): void {
  child.send(what)
}

async function newsOf (load: ChildProcess, kind: LoadNews['kind']): Promise<LoadNews> {
  for (;;) {
    const [news] = await once(load, 'message') as [LoadNews]
    if (news.kind === kind) return news
  }
}

/** How often Redis was asked for events or cursors so far, by its own count. */
async function reads (): Promise<number> {
  const stats = await client.info('commandstats')
  return [...stats.matchAll(/cmdstat_xrange:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

function report (): void {
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim()
  const text = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`; ratios of one run count, not the times: the load, Redis and the server share one machine.',
    '',
    `Commit ${commit}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Redis ${redisVersion()}.`,
    '',
    'The floor is a bare node:http server that writes one shared Buffer per client per turn of the loop and keeps no log.',
    'Ours is `app.topics` on the Redis log: every event goes through Redis and back before a client gets it.',
    `${WARM_UP_ROUNDS} rounds warm both up and do not count: in a process that has just started ours also pays for compiling its code.`,
    '',
    `## Fan-out: ${LIVE.events.toLocaleString('en')} events of 100 bytes to ${CLIENTS.toLocaleString('en')} clients`,
    '',
    ...table(fanOut, LIVE.events),
    '',
    `## Resume storm: ${CLIENTS.toLocaleString('en')} clients connect at once, each has missed ${MISSED.events.toLocaleString('en')} events`,
    '',
    ...table(storm, MISSED.events),
    ''
  ].join('\n')
  writeFileSync(new URL('../../docs/benchmarks.md', import.meta.url), text)
  process.stdout.write(text)
}

function table (result: Result, events: number): string[] {
  const speed = (rounds: readonly Round[]): number[] => rounds.map(({ seconds }) => events * CLIENTS / seconds / 1e6)
  const shown = (values: readonly number[]): string => values.map(value => value.toFixed(2)).join(', ')
  const [floorSpeed, ourSpeed] = [speed(result.floor), speed(result.ours)]
  return [
    '| | deliveries, M/s, each round | median | reads of events from Redis, each round |',
    '|---|---|---|---|',
    `| floor | ${shown(floorSpeed)} | ${median(floorSpeed).toFixed(2)} | none |`,
    `| ours | ${shown(ourSpeed)} | ${median(ourSpeed).toFixed(2)} | ${result.ours.map(({ reads }) => reads).join(', ')} |`,
    '',
    `Ours is at ${(median(ourSpeed) / median(floorSpeed)).toFixed(2)} of the floor.`
  ]
}

function median (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function redisVersion (): string {
  return /v=(\S+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown'
}
