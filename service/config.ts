import { isIP } from 'node:net'
import { parseDuration } from './duration.ts'

/** Where and how the service listens, and on which log. */
export interface ServiceConfig {
  /** Address to listen on. Default 127.0.0.1. */
  host: string
  /** Port to listen on; 0 takes any free one. Default 8080. */
  port: number
  /** Where events are kept. Default `redis` when a Redis URL is given, else `lmdb`. */
  log: 'lmdb' | 'redis' | 'memory'
  /** Folder of the LMDB files. Default `data`. */
  dataDir: string
  /** When a publish on LMDB is acknowledged, see `LmdbLog`. Default `disk`. */
  durability: 'disk' | 'process'
  /** Redis, for `log: 'redis'`. */
  redisUrl: string | undefined
  /** Log level of the service itself. Default `info`. */
  logLevel: (typeof LOG_LEVELS)[number]
  /** Events kept per topic. Default 10,000. */
  maxEvents: number
  /** Events older than this many ms are dropped; 0 keeps them whatever their age. Default 0. */
  maxAgeMs: number
  /** A topic nobody publishes to for this many ms is forgotten; 0 forgets none. Default 7 days. */
  expireAfterMs: number
  /** Heartbeat of idle streams, in ms. Default 15,000. */
  heartbeatMs: number
  /** Streams are ended within this many ms when the service stops. Default 5,000. */
  drainMs: number
  /** Told in so many words: listen beyond loopback although anybody may then publish and subscribe. Default false. */
  isOpenToAll: boolean
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** Every problem with a configuration, told at once. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor (problems: readonly string[]) {
    super(`the configuration is not valid:\n${problems.map(problem => `  - ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

/** How a variable is read from its text; undefined refuses it. */
type Read<T> = (text: string) => T | undefined
/** `show` is how a bad value is told. */
interface Variable<T> { default: T, allowed: string, read: Read<T>, show: (text: string) => string }

const oneOf = <T extends string>(...values: T[]): Read<T> => text => values.find(value => value === text)
const anyText: Read<string> = text => text

/** One row per variable: its default, its allowed values in words, and how it is read. */
export const variables = {
  HOST: variable('127.0.0.1', 'an IP address or "localhost"', text => isIP(text) || text === 'localhost' ? text : undefined),
  PORT: variable(8080, 'an integer from 0 to 65535', integer(0, 65_535)),
  LOG: variable<'' | ServiceConfig['log']>('', '"lmdb", "redis" or "memory"', oneOf('lmdb', 'redis', 'memory')),
  DATA_DIR: variable('data', 'the path of a folder', anyText),
  DURABILITY: variable<ServiceConfig['durability']>('disk', '"disk" or "process"', oneOf('disk', 'process')),
  REDIS_URL: variable('', 'a URL such as redis://host:6379 or rediss://user:password@host:6379/0', text => isRedisUrl(text) ? text : undefined, withoutPassword),
  LOG_LEVEL: variable<ServiceConfig['logLevel']>('info', LOG_LEVELS.join(', '), oneOf(...LOG_LEVELS)),
  MAX_EVENTS: variable(10_000, 'an integer from 1 to 100000000 (events kept per topic)', integer(1, 100_000_000)),
  MAX_AGE: variable(0, '0 or a duration such as 30s, 10m, 2h or 1d, up to 366d', durationOrZero),
  EXPIRE_AFTER: variable(parseDuration('7d')!, '0 or a duration such as 30s, 10m, 2h or 1d, up to 366d', durationOrZero),
  HEARTBEAT_MS: variable(15_000, 'an integer from 10 to 2147483647 (ms)', integer(10, 2_147_483_647)),
  DRAIN_MS: variable(5_000, 'an integer from 0 to 2147483647 (ms)', integer(0, 2_147_483_647)),
  OPEN_TO_ALL: variable(false, '"yes" or "no"', text => text === 'yes' ? true : text === 'no' ? false : undefined)
}

type Name = keyof typeof variables

/** Reads the configuration from environment variables. Throws a `ConfigError` with every problem at once. */
export function readConfig (env: Record<string, string | undefined>): ServiceConfig {
  const problems = new Map<Name, string>()
  const read = <T>(name: Name, { default: fallback, allowed, read, show }: Variable<T>): T => {
    const text = env[name]
    if (text === undefined || text === '') return fallback
    const value = read(text)
    if (value === undefined) problems.set(name, `${name} must be ${allowed}, saw ${JSON.stringify(show(text))}`)
    return value ?? fallback
  }
  const redisUrl = read('REDIS_URL', variables.REDIS_URL)
  const config: ServiceConfig = {
    host: read('HOST', variables.HOST),
    port: read('PORT', variables.PORT),
    log: read('LOG', variables.LOG) || (redisUrl === '' ? 'lmdb' : 'redis'),
    dataDir: read('DATA_DIR', variables.DATA_DIR),
    durability: read('DURABILITY', variables.DURABILITY),
    redisUrl: redisUrl || undefined,
    logLevel: read('LOG_LEVEL', variables.LOG_LEVEL),
    maxEvents: read('MAX_EVENTS', variables.MAX_EVENTS),
    maxAgeMs: read('MAX_AGE', variables.MAX_AGE),
    expireAfterMs: read('EXPIRE_AFTER', variables.EXPIRE_AFTER),
    heartbeatMs: read('HEARTBEAT_MS', variables.HEARTBEAT_MS),
    drainMs: read('DRAIN_MS', variables.DRAIN_MS),
    isOpenToAll: read('OPEN_TO_ALL', variables.OPEN_TO_ALL)
  }
  const contradictory = contradictions(config).filter(({ among }) => !among.some(name => problems.has(name)))
  const told = [...problems.values(), ...contradictory.map(({ problem }) => problem)]
  if (told.length > 0) throw new ConfigError(told)
  return config
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** Variables that do not go together, and why. */
interface Contradiction { among: Name[], problem: string }

function contradictions ({ host, isOpenToAll, log, redisUrl }: ServiceConfig): Contradiction[] {
  const found: Contradiction[] = []
  if (!LOOPBACK.has(host) && !isOpenToAll) {
    found.push({ among: ['HOST', 'OPEN_TO_ALL'], problem: `HOST ${JSON.stringify(host)} is reachable from other machines, and anybody who reaches it could publish and subscribe: set OPEN_TO_ALL=yes if that is meant` })
  }
  if (log === 'redis' && redisUrl === undefined) found.push({ among: ['LOG', 'REDIS_URL'], problem: 'LOG=redis needs REDIS_URL, such as redis://127.0.0.1:6379' })
  if (log !== 'redis' && redisUrl !== undefined) found.push({ among: ['LOG', 'REDIS_URL'], problem: `REDIS_URL is set, but LOG=${log} does not use it: leave one of them out` })
  return found
}

function variable<T> (fallback: T, allowed: string, read: Read<T>, show: (text: string) => string = String): Variable<T> {
  return { default: fallback, allowed, read, show }
}

function integer (min: number, max: number): Read<number> {
  return text => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined
  }
}

/** The log keeps nothing for longer than a year. */
const MAX_DURATION_MS = parseDuration('366d')!

function durationOrZero (text: string): number | undefined {
  const ms = text === '0' ? 0 : parseDuration(text)
  return ms !== undefined && ms <= MAX_DURATION_MS ? ms : undefined
}

function isRedisUrl (text: string): boolean {
  return URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol)
}

/** A mistyped URL of Redis may hold its password. */
function withoutPassword (text: string): string {
  return text.replace(/^(\w+:\/*)?.*@/, '$1***@')
}
