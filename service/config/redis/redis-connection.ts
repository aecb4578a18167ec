import { readFileSync } from 'node:fs'
import type { RedisConnection } from 'fastify-resumable-sse/topics/redis'
import type { ServiceConfig } from '../config.ts'
import type { Pair } from '../secrets/pem.ts'
import { readRedisUrl } from './redis-url.ts'
import type { RedisAddress } from './redis-url.ts'

/** How the log and the token store connect to Redis. The configuration has been checked and has a `REDIS_URL`. */
export function redisConnection (config: ServiceConfig): RedisConnection {
  const { address } = readRedisUrl(config.redisUrl!)!
  const { kind, nodes, database: db } = address
  const common = { ...credentials(config, address), ...(address.isTls ? { tls: tlsOptions(config) } : {}) }
  switch (kind) {
    case 'server':
      return { ...nodes[0]!, db, ...common }
    case 'socket':
      return { path: address.path!, db, ...common }
    case 'cluster':
      return { cluster: nodes, redisOptions: common }
    case 'sentinel':
      return { sentinels: nodes, name: address.master!, db, ...common, ...sentinelOptions(config, address) }
  }
}

/** Credentials in the URL and in the variables are never both set. */
function credentials (
  { redisUsername, redisPassword }: ServiceConfig,
  { username = redisUsername, password = redisPassword }: RedisAddress
): { username?: string, password?: string } {
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
}

function sentinelOptions (config: ServiceConfig, { isTls }: RedisAddress): object {
  const { redisSentinelUsername: username, redisSentinelPassword: password } = config
  return {
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions(config) } : {})
  }
}

/** Reads the files. */
export function tlsOptions ({ redisTlsCa, redisTlsCert, redisTlsKey }: ServiceConfig): Partial<Pair & { ca: Buffer }> {
  return {
    ...(redisTlsCa === undefined ? {} : { ca: readFileSync(redisTlsCa) }),
    ...(redisTlsCert === undefined ? {} : { cert: readFileSync(redisTlsCert) }),
    ...(redisTlsKey === undefined ? {} : { key: readFileSync(redisTlsKey) })
  }
}
