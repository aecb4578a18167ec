import { readRedisUrl, REDIS_URL_FORMS } from './redis-url.ts'
import { anyText, duration, integer, readableFile, unreadable, withoutPassword } from '../variable.ts'
import type { Read, Variable } from '../variable.ts'

const redisUrl: Read<string> = text => readRedisUrl(text)?.problems.length === 0 ? text : undefined

/** The prefix of every key: braces would end the hash tag of a topic. */
const prefix: Read<string> = text => /^[^{}\s]{1,100}$/.test(text) ? text : undefined

/** How to connect to Redis, and what is required of it: rows of the table in config.ts. */
export const redisVariables = {
  REDIS_URL: {
    property: 'redisUrl',
    default: undefined,
    allowed: REDIS_URL_FORMS,
    read: redisUrl,
    problems: text => readRedisUrl(text)?.problems ?? [],
    isSecret: text => readRedisUrl(text)?.address.password !== undefined,
    show: withoutPassword,
    meaning: 'Redis 7 or later: one server, Sentinels, nodes of a cluster, or a Unix socket, see ' +
      '[docs/redis.md](docs/redis.md#connecting-to-redis).'
  },
  REDIS_USERNAME: {
    property: 'redisUsername',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    meaning: 'User name for Redis, if `REDIS_URL` has none.'
  },
  REDIS_PASSWORD: {
    property: 'redisPassword',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    isSecret: () => true,
    show: () => '***',
    meaning: 'Password for Redis, if `REDIS_URL` has none.'
  },
  REDIS_SENTINEL_USERNAME: {
    property: 'redisSentinelUsername',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    meaning: 'User name for the Sentinels, if they require one.'
  },
  REDIS_SENTINEL_PASSWORD: {
    property: 'redisSentinelPassword',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    isSecret: () => true,
    show: () => '***',
    meaning: 'Password for the Sentinels, if they require one.'
  },
  REDIS_TLS_CA: {
    property: 'redisTlsCa',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Certificates of the authorities to trust for `rediss://`, PEM. Default: those of Node.js.'
  },
  REDIS_TLS_CERT: {
    property: 'redisTlsCert',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Client certificate for `rediss://`, PEM; together with `REDIS_TLS_KEY`.'
  },
  REDIS_TLS_KEY: {
    property: 'redisTlsKey',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Private key of `REDIS_TLS_CERT`, PEM.'
  },
  PREFIX: {
    property: 'prefix',
    default: 'sse:',
    allowed: '1 to 100 characters without braces and white space',
    read: prefix,
    meaning: 'Prefix of all keys and channels in Redis. Services that use the same Redis but should not share ' +
      'topics need different prefixes.'
  },
  REPLICAS: {
    property: 'replicas',
    default: '0',
    allowed: 'an integer from 0 to 100',
    read: integer(0, 100),
    meaning: 'Number of Redis replicas that must have an event before its publish is acknowledged.'
  },
  REPLICAS_TIMEOUT_MS: {
    property: 'replicasTimeoutMs',
    default: '1000',
    allowed: 'an integer from 1 to 600000 (ms)',
    read: integer(1, 600_000),
    meaning: 'How long a publish waits for `REPLICAS`. After that it gets 503, although the event may still be ' +
      'delivered.'
  },
  IDEMPOTENCY_WINDOW: {
    property: 'idempotencyMs',
    default: '1d',
    allowed: 'a duration such as 30s, 10m, 2h or 1d, up to 366d',
    read: duration,
    meaning: 'How long an `Idempotency-Key` is remembered.'
  }
} as const satisfies Record<string, Variable>
