import { checkOptions, integer, withoutUndefined } from '../../../common/option-check.ts'
import type { OptionCheck } from '../../../common/option-check.ts'
import { MAX_MS, redisChecks } from '../../../common/redis/redis-checks.ts'
import type { RedisConnection } from '../../../common/redis/redis-target.ts'
import { badOption } from '../../errors.ts'
import { retentionRules } from '../../retention.ts'
import type { RetentionRule } from '../../retention.ts'

export interface RedisLogOptions {
  /** How to reach Redis: a URL, ioredis options (including Sentinel), or `{ cluster: nodes }`. */
  connection: RedisConnection
  /** Prefix of every key and channel. Default `sse:`. */
  prefix?: string
  /** Retention by topic pattern; the first matching rule applies. */
  retention?: readonly RetentionRule[]
  /** A command that is not answered within this many ms has failed, with an unknown outcome. Default 5,000. */
  commandTimeoutMs?: number
  /** Interval of the probe in ms. Default 5,000. */
  canaryMs?: number
  /**
   * Number of replicas that must have a publish, or the end or stop of a producer, before it is acknowledged. Default
   * 0.
   */
  replicas?: number
  /** How long to wait for the replicas, in ms. Default 1,000. */
  replicasTimeoutMs?: number
}

const DEFAULTS = { prefix: 'sse:', commandTimeoutMs: 5_000, canaryMs: 5_000, replicas: 0, replicasTimeoutMs: 1_000 }
const CHECKS: Readonly<Record<keyof RedisLogOptions, OptionCheck>> = {
  ...redisChecks,
  retention: retentionRules,
  canaryMs: integer(10, MAX_MS),
  replicas: integer(0, 100),
  replicasTimeoutMs: integer(1, MAX_MS)
}

/** The options with their defaults; the rules of `retention` are checked where they are used. */
export type RedisLogSettings = Required<RedisLogOptions>

/** Throws `TOPICS_BAD_OPTION` for the first invalid option. */
export function resolveRedisLogOptions (options: RedisLogOptions): RedisLogSettings {
  checkOptions(options, CHECKS, badOption)
  return { retention: [], ...DEFAULTS, ...withoutUndefined(options) }
}
