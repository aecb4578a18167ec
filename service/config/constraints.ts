import { asksForCredentials } from '../auth.ts'
import { authConstraints } from './auth-constraints.ts'
import type { Constraint } from './constraint.ts'
import { problemWithPair } from '../http/connections/tls.ts'
import { redisConstraints } from './redis/redis-constraints.ts'

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** Checked only if every variable among them is valid by itself, so that a bad one is reported once. */
export const constraints: readonly Constraint[] = [
  ...authConstraints,
  ...redisConstraints,
  {
    among: ['HOST', 'OPEN_TO_ALL', 'JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWKS_URL', 'PROXY_HEADER'],
    problem: config =>
      LOOPBACK.has(config.host) || config.isOpenToAll || asksForCredentials(config)
        ? undefined
        : `HOST ${JSON.stringify(config.host)} is reachable from other machines, and anyone who can reach it could ` +
          'publish and subscribe: set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER, ' +
          'or OPEN_TO_ALL=yes if this is intended'
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
        ? `REDIS_URL is set, but LOG=${log} does not use it: remove one of them`
        : undefined
  },
  {
    among: ['LOG', 'REDIS_URL', 'WORKERS'],
    problem: ({ log, workers }) =>
      workers > 1 && log !== 'redis'
        ? `WORKERS=${workers} needs LOG=redis: LOG=${log} supports one process only`
        : undefined
  },
  {
    among: ['PORT', 'WORKERS'],
    // All workers share the port: after all of them had exited, the next one would get a different port.
    problem: ({ port, workers }) =>
      workers > 1 && port === 0 ? `WORKERS=${workers} needs a PORT other than 0` : undefined
  },
  {
    among: ['TLS_CERT', 'TLS_KEY'],
    problem: config => {
      const given = [config.tlsCert, config.tlsKey].filter(file => file !== undefined).length
      if (given === 0) return undefined
      if (given === 1) return 'TLS_CERT and TLS_KEY must be set together: set both or neither'
      const problem = problemWithPair(config)
      return problem === undefined ? undefined : `TLS_CERT and TLS_KEY cannot be used: ${problem}`
    }
  }
]
