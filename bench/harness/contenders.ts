import { createRequire } from 'node:module'
import { cpuSeconds, residentBytes } from './cpu.ts'
import { isNchanThere, Nchan } from './nchan.ts'
import { BenchRedis } from './redis.ts'
import { Program } from './rpc.ts'

/** The servers that are compared. All of them serve `GET /events?topic=…` and `POST /publish?topic=…`. */
export type ContenderName =
  'floor' | 'ours' | '@fastify/sse' | 'better-sse' | 'fastify-sse-v2' | 'nchan + Redis' | 'gzip per client'

/** A server under test, in a separate process. */
export interface Contender {
  name: ContenderName
  port: number
  /** Calls functions of our own server programs: `memory`, `loopDelay`. Undefined for foreign programs. */
  program: Program | undefined
  /** CPU time used so far in seconds, including its Redis. */
  cpu: () => number
  /** Resident memory in bytes, without its Redis. */
  rss: () => number
  /** Deletes everything in its Redis. */
  flush: () => Promise<void>
  stop: () => Promise<void>
}

/** The program of each server; those of peers are named after the package that they use. */
const SERVERS: Record<Exclude<ContenderName, 'nchan + Redis'>, string> = {
  floor: 'floor',
  ours: 'ours',
  'gzip per client': 'gzip-per-client',
  '@fastify/sse': 'fastify-sse',
  'better-sse': 'better-sse',
  'fastify-sse-v2': 'fastify-sse-v2'
}
const USES_REDIS = new Set<ContenderName>(['ours', 'nchan + Redis'])

/** True if everything that the contender needs is installed. */
export function isThere (name: ContenderName): boolean {
  if (name === 'nchan + Redis') return isNchanThere()
  if (name === 'floor' || name === 'ours' || name === 'gzip per client') return true
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

/** Starts a contender, and a separate Redis if it uses one. */
export async function startContender (name: ContenderName, env: Record<string, string> = {}): Promise<Contender> {
  const redis = USES_REDIS.has(name) ? await BenchRedis.start() : undefined
  const server = name === 'nchan + Redis'
    ? await startNchan(redis!)
    : await startProgram(SERVERS[name], redis === undefined ? env : { ...env, REDIS_URL: redis.url })
  return {
    name,
    port: server.port,
    program: server.program,
    cpu: () => cpuSeconds(redis === undefined ? server.pids() : [...server.pids(), redis.pid]),
    rss: () => residentBytes(server.pids()),
    flush: async () => { await redis?.flush() },
    stop: async () => {
      await server.stop()
      await redis?.stop()
    }
  }
}

interface Started { port: number, program: Program | undefined, pids: () => number[], stop: () => Promise<void> }

async function startProgram (file: string, env: Record<string, string>): Promise<Started> {
  const program = await Program.start(`servers/${file}`, env)
  const port = await program.call<number>('port')
  return { port, program, pids: () => [program.pid], stop: () => program.stop() }
}

async function startNchan (redis: BenchRedis): Promise<Started> {
  const nchan = await Nchan.start(redis.url)
  return { port: nchan.port, program: undefined, pids: () => nchan.pids, stop: () => nchan.stop() }
}
