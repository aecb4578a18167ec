import { asksForCredentials } from '../auth.ts'
import { authConstraints } from './auth-constraints.ts'
import type { Constraint } from './constraint.ts'
import { problemWithPair } from '../http/tls.ts'
import { redisConstraints } from './redis-constraints.ts'

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** Checked when each variable among them is valid by itself, so that a bad one is reported once. */
export const constraints: readonly Constraint[] = [
  ...authConstraints,
  ...redisConstraints,
  {
    among: ['HOST', 'OPEN_TO_ALL', 'JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWKS_URL', 'PROXY_HEADER'],
    problem: config =>
      LOOPBACK.has(config.host) || config.isOpenToAll || asksForCredentials(config)
        ? undefined
        : `HOST ${JSON.stringify(config.host)} is reachable from other machines, and anybody who reaches it could publish and subscribe: set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER, or OPEN_TO_ALL=yes if that is meant`
  },
  {
    among: ['LOG', 'REDIS_URL'],
    problem: ({ log, redisUrl }) =>
      log === 'redis' && redisUrl === undefined
        ? 'LOG=redis needs REDIS_URL, such as redis://127.0.0.1:6379'
        : undefined
  },
  {
    among: ['LOG', 'REDIS_URL'],
    problem: ({ log, redisUrl }) =>
      log !== 'redis' && redisUrl !== undefined
        ? `REDIS_URL is set, but LOG=${log} does not use it: leave one of them out`
        : undefined
  },
  {
    among: ['LOG', 'REDIS_URL', 'WORKERS'],
    problem: ({ log, workers }) =>
      workers > 1 && log !== 'redis' ? `WORKERS=${workers} needs LOG=redis: LOG=${log} is for one process` : undefined
  },
  {
    among: ['PORT', 'WORKERS'],
    // The port is the workers' together: it would be another one when all of them had ended.
    problem: ({ port, workers }) =>
      workers > 1 && port === 0 ? `WORKERS=${workers} needs a PORT other than 0` : undefined
  },
  {
    among: ['TLS_CERT', 'TLS_KEY'],
    problem: config => {
      const given = [config.tlsCert, config.tlsKey].filter(file => file !== undefined).length
      if (given === 0) return undefined
      if (given === 1) return 'TLS_CERT and TLS_KEY go together: set both or none'
      const problem = problemWithPair(config)
      return problem === undefined ? undefined : `TLS_CERT and TLS_KEY cannot be used: ${problem}`
    }
  }
]
