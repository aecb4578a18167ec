import { readRedisUrl, REDIS_URL_FORMS } from './redis-url.ts'
import { anyText, duration, integer, readableFile, withoutPassword } from './variable.ts'
import type { Read, Variable } from './variable.ts'

const redisUrl: Read<string> = text => readRedisUrl(text)?.problems.length === 0 ? text : undefined

/** Begins every key: braces would end the hash tag of a topic. */
const prefix: Read<string> = text => /^[^{}\s]{1,100}$/.test(text) ? text : undefined

/** How Redis is reached and what is asked of it: rows of the table in config.ts. */
export const redisVariables = {
  REDIS_URL: {
    property: 'redisUrl',
    default: undefined,
    allowed: REDIS_URL_FORMS,
    read: redisUrl,
    problems: text => readRedisUrl(text)?.problems ?? [],
    isSecret: text => readRedisUrl(text)?.address.password !== undefined,
    show: withoutPassword,
    meaning: 'Redis 7 or later: one server, Sentinels, nodes of a cluster, or a Unix socket, see [docs/redis.md](docs/redis.md#where-redis-is).'
  },
  REDIS_USERNAME: {
    property: 'redisUsername',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    meaning: 'User of Redis, where `REDIS_URL` does not name one.'
  },
  REDIS_PASSWORD: {
    property: 'redisPassword',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    isSecret: () => true,
    show: () => '***',
    meaning: 'Password of Redis, where `REDIS_URL` does not hold it.'
  },
  REDIS_SENTINEL_USERNAME: {
    property: 'redisSentinelUsername',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    meaning: 'User of the Sentinels, where they ask for one.'
  },
  REDIS_SENTINEL_PASSWORD: {
    property: 'redisSentinelPassword',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    isSecret: () => true,
    show: () => '***',
    meaning: 'Password of the Sentinels, where they ask for one.'
  },
  REDIS_TLS_CA: {
    property: 'redisTlsCa',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: "Certificates of the authorities that signed Redis' own, PEM; not set: the well-known ones. For `rediss://`."
  },
  REDIS_TLS_CERT: {
    property: 'redisTlsCert',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: 'Certificate shown to Redis, PEM; together with `REDIS_TLS_KEY`. For `rediss://`.'
  },
  REDIS_TLS_KEY: {
    property: 'redisTlsKey',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: 'Private key of `REDIS_TLS_CERT`, PEM.'
  },
  PREFIX: {
    property: 'prefix',
    default: 'sse:',
    allowed: '1 to 100 characters without braces and white space',
    read: prefix,
    meaning: 'Begins every key and channel in Redis. Services that share a Redis and are not meant to share topics need different ones.'
  },
  REPLICAS: {
    property: 'replicas',
    default: '0',
    allowed: 'an integer from 0 to 100',
    read: integer(0, 100),
    meaning: 'A publish is acknowledged when this many replicas of Redis have it too.'
  },
  REPLICAS_TIMEOUT_MS: {
    property: 'replicasTimeoutMs',
    default: '1000',
    allowed: 'an integer from 1 to 600000 (ms)',
    read: integer(1, 600_000),
    meaning: 'How long a publish waits for `REPLICAS`; then it is answered with 503, and the event may still be delivered.'
  },
  IDEMPOTENCY_WINDOW: {
    property: 'idempotencyMs',
    default: '1d',
    allowed: 'a duration such as 30s, 10m, 2h or 1d, up to 366d',
    read: duration,
    meaning: 'How long an `Idempotency-Key` is remembered.'
  }
} as const satisfies Record<string, Variable>
