import { createSecureContext } from 'node:tls'
import type { ServiceConfig, VariableName } from '../config.ts'
import type { Constraint } from '../constraint.ts'
import { problemWithCertificates, problemWithPem } from '../secrets/pem.ts'
import { tlsOptions } from './redis-connection.ts'
import { readRedisUrl } from './redis-url.ts'
import type { RedisAddress } from './redis-url.ts'

const GIVEN_TO_REDIS = {
  REDIS_USERNAME: 'redisUsername',
  REDIS_PASSWORD: 'redisPassword',
  REDIS_SENTINEL_USERNAME: 'redisSentinelUsername',
  REDIS_SENTINEL_PASSWORD: 'redisSentinelPassword',
  REDIS_TLS_CA: 'redisTlsCa',
  REDIS_TLS_CERT: 'redisTlsCert',
  REDIS_TLS_KEY: 'redisTlsKey'
} as const satisfies Partial<Record<VariableName, keyof ServiceConfig>>

type GivenToRedis = keyof typeof GIVEN_TO_REDIS

const given = (config: ServiceConfig, part = ''): GivenToRedis[] => (Object.keys(GIVEN_TO_REDIS) as GivenToRedis[])
  .filter(name => name.includes(part) && config[GIVEN_TO_REDIS[name]] !== undefined)

const addressOf = ({ redisUrl }: ServiceConfig): RedisAddress | undefined =>
  redisUrl === undefined ? undefined : readRedisUrl(redisUrl)?.address

/** A constraint on a configuration with a URL. */
function withAddress (
  among: readonly VariableName[],
  problem: (address: RedisAddress, config: ServiceConfig) => string | undefined
): Constraint {
  return {
    among: ['LOG', 'REDIS_URL', ...among],
    problem: config => {
      const address = addressOf(config)
      return address && problem(address, config)
    }
  }
}

/** Variables about Redis that cannot be combined, or that require another one. */
export const redisConstraints: readonly Constraint[] = [
  {
    among: ['LOG', 'REDIS_URL'],
    problem: config => config.redisUrl === undefined && config.log !== 'redis' && given(config).length > 0
      ? `${given(config)[0]} applies to Redis only: also set REDIS_URL`
      : undefined
  },
  {
    among: ['LOG', 'REPLICAS'],
    problem: ({ log, replicas }) => log !== 'redis' && replicas > 0 ? `REPLICAS=${replicas} needs LOG=redis` : undefined
  },
  withAddress(['REDIS_USERNAME'], ({ username }, { redisUsername }) =>
    username !== undefined && redisUsername !== undefined
      ? 'REDIS_USERNAME is set, and REDIS_URL has a user name: remove one of them'
      : undefined
  ),
  withAddress(['REDIS_PASSWORD'], ({ password }, { redisPassword }) =>
    password !== undefined && redisPassword !== undefined
      ? 'REDIS_PASSWORD is set, and REDIS_URL has a password: remove one of them'
      : undefined
  ),
  withAddress(
    ['REDIS_USERNAME', 'REDIS_PASSWORD'],
    ({ username, password }, { redisUsername = username, redisPassword = password }) =>
      redisUsername !== undefined && redisPassword === undefined
        ? 'a Redis user needs a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE'
        : undefined
  ),
  withAddress(['REDIS_SENTINEL_USERNAME', 'REDIS_SENTINEL_PASSWORD'], ({ kind }, config) =>
    kind !== 'sentinel' && given(config, 'SENTINEL').length > 0
      ? `${given(config, 'SENTINEL')[0]} applies to Sentinels only: ` +
        'write REDIS_URL as redis+sentinel://host:26379/mymaster'
      : undefined
  ),
  withAddress(['REDIS_TLS_CA', 'REDIS_TLS_CERT', 'REDIS_TLS_KEY'], ({ isTls }, config) =>
    !isTls && given(config, 'TLS').length > 0
      ? `${given(config, 'TLS')[0]} applies to TLS only: write REDIS_URL with rediss instead of redis`
      : undefined
  ),
  {
    among: ['REDIS_TLS_CA', 'REDIS_TLS_CERT', 'REDIS_TLS_KEY'],
    problem: config => (config.redisTlsCert === undefined) !== (config.redisTlsKey === undefined)
      ? 'REDIS_TLS_CERT and REDIS_TLS_KEY must be set together: set both or neither'
      : problemWithFiles(config)
  }
]

function problemWithFiles (config: ServiceConfig): string | undefined {
  if (given(config, 'TLS').length === 0) return undefined
  try {
    const options = tlsOptions(config)
    const problem = problemWithOptions(options)
    if (problem === undefined) createSecureContext(options)
    return problem
  } catch (error) {
    return `${given(config, 'TLS').join(', ')} cannot be used: ${(error as Error).message}`
  }
}

function problemWithOptions ({ ca, cert, key }: ReturnType<typeof tlsOptions>): string | undefined {
  const problem = ca && problemWithCertificates(ca, 'REDIS_TLS_CA')
  if (problem !== undefined || !cert || !key) return problem
  return problemWithPem({ cert, key }, { cert: 'REDIS_TLS_CERT', key: 'REDIS_TLS_KEY' })
}
