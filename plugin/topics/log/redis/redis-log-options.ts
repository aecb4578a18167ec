import { withoutUndefined } from '../../../common/option-check.ts'
import type { RedisConnection, RefuseOption } from '../../../common/redis/redis-target.ts'
import { show } from '../../../common/show.ts'
import { errors } from '../../errors.ts'
import type { RetentionRule } from '../../retention.ts'

export interface RedisLogOptions {
  /** Where Redis is: a URL, ioredis options (Sentinel is among them), or `{ cluster: nodes }`. */
  connection: RedisConnection
  /** Begins every key and channel. Default `sse:`. */
  prefix?: string
  /** Retention by topic pattern; the first rule that matches counts. */
  retention?: readonly RetentionRule[]
  /** A command not answered within this many ms has failed, and what it did is not known. Default 5,000. */
  commandTimeoutMs?: number
  /** The canary is sent this often, in ms. Default 5,000. */
  canaryMs?: number
  /** A publish is acknowledged when this many replicas have it too. Default 0. */
  replicas?: number
  /** How long to wait for the replicas, in ms. Default 1,000. */
  replicasTimeoutMs?: number
}

const DEFAULTS = { prefix: 'sse:', commandTimeoutMs: 5_000, canaryMs: 5_000, replicas: 0, replicasTimeoutMs: 1_000 }
const MAX_MS = 600_000
const RANGES = {
  commandTimeoutMs: [1, MAX_MS],
  canaryMs: [10, MAX_MS],
  replicas: [0, 100],
  replicasTimeoutMs: [1, MAX_MS]
} as const

/** The options with their defaults; retention is checked where it is read. */
export type RedisLogSettings = Required<Omit<RedisLogOptions, 'retention'>>

/** Throws `TOPICS_BAD_OPTION`. */
export const refuseOption: RefuseOption = (name, allowed, seen) => {
  throw new errors.TOPICS_BAD_OPTION(name, allowed, seen)
}

/** Throws `TOPICS_BAD_OPTION` for the first option that cannot be used. */
export function checkOptions (options: Omit<RedisLogOptions, 'retention'>): RedisLogSettings {
  const given = withoutUndefined(options)
  const { connection, prefix, ...numbers } = { ...DEFAULTS, ...given }
  const unknown = Object.keys(given).find(name => name !== 'connection' && !Object.hasOwn(DEFAULTS, name))
  if (unknown !== undefined) {
    refuseOption(unknown, `one of connection, retention, ${Object.keys(DEFAULTS).join(', ')}`, 'an unknown option')
  }
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) {
    refuseOption('connection', 'a URL, ioredis options or { cluster: nodes }', show(connection))
  }
  if (typeof prefix !== 'string' || /[{}\s]/.test(prefix)) {
    refuseOption('prefix', 'a string without braces and white space', show(prefix))
  }
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value = numbers[name as keyof typeof RANGES]
    if (!Number.isInteger(value) || value < min || value > max) {
      refuseOption(name, `an integer from ${min} to ${max}`, show(value))
    }
  }
  return { connection, prefix, ...numbers }
}
