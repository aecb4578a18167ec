import { isIP } from 'node:net'

/** Where and how the service listens, and on which log. */
export interface ServiceConfig {
  /** Address to listen on. Default 127.0.0.1. */
  host: string
  /** Port to listen on; 0 takes any free one. Default 8080. */
  port: number
  /** Where events are kept. Default `memory`. */
  log: 'memory'
  /** Log level of the service itself. Default `info`. */
  logLevel: (typeof LOG_LEVELS)[number]
  /** Events kept per topic. Default 10,000. */
  maxEvents: number
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

type Reader<T> = (value: string) => T | undefined

/** One row per variable: what it sets, its default, its allowed values in words, and how it is read. */
export const variables = {
  HOST: { default: '127.0.0.1', allowed: 'an IP address or "localhost"', read: (value: string) => isIP(value) || value === 'localhost' ? value : undefined },
  PORT: { default: 8080, allowed: 'an integer from 0 to 65535', read: integer(0, 65_535) },
  LOG: { default: 'memory' as const, allowed: '"memory"', read: (value: string) => value === 'memory' ? value : undefined },
  LOG_LEVEL: { default: 'info' as const, allowed: LOG_LEVELS.join(', '), read: (value: string) => LOG_LEVELS.find(level => level === value) },
  MAX_EVENTS: { default: 10_000, allowed: 'an integer from 1 (events kept per topic)', read: integer(1, Number.MAX_SAFE_INTEGER) },
  HEARTBEAT_MS: { default: 15_000, allowed: 'an integer from 10 to 2147483647 (ms)', read: integer(10, 2_147_483_647) },
  DRAIN_MS: { default: 5_000, allowed: 'an integer from 0 to 2147483647 (ms)', read: integer(0, 2_147_483_647) },
  OPEN_TO_ALL: { default: false, allowed: '"yes" or "no"', read: (value: string) => value === 'yes' ? true : value === 'no' ? false : undefined }
} satisfies Record<string, { default: unknown, allowed: string, read: Reader<unknown> }>

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** Reads the configuration from environment variables. Throws a `ConfigError` with every problem at once. */
export function readConfig (env: Record<string, string | undefined>): ServiceConfig {
  const problems: string[] = []
  const read = <T>(name: keyof typeof variables, { default: fallback, allowed, read }: { default: T, allowed: string, read: Reader<T> }): T => {
    const text = env[name]
    if (text === undefined || text === '') return fallback
    const value = read(text)
    if (value === undefined) problems.push(`${name} must be ${allowed}, saw ${JSON.stringify(text)}`)
    return value ?? fallback
  }
  const config: ServiceConfig = {
    host: read('HOST', variables.HOST),
    port: read('PORT', variables.PORT),
    log: read('LOG', variables.LOG),
    logLevel: read<ServiceConfig['logLevel']>('LOG_LEVEL', variables.LOG_LEVEL),
    maxEvents: read('MAX_EVENTS', variables.MAX_EVENTS),
    heartbeatMs: read('HEARTBEAT_MS', variables.HEARTBEAT_MS),
    drainMs: read('DRAIN_MS', variables.DRAIN_MS),
    isOpenToAll: read('OPEN_TO_ALL', variables.OPEN_TO_ALL)
  }
  if (!LOOPBACK.has(config.host) && !config.isOpenToAll) {
    problems.push(`HOST ${JSON.stringify(config.host)} is reachable from other machines, and anybody who reaches it could publish and subscribe: set OPEN_TO_ALL=yes if that is meant`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

function integer (min: number, max: number): Reader<number> {
  return text => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined
  }
}
