import { readFileSync } from 'node:fs'
import { problemWithKey } from 'fastify-resumable-sse/auth'
import { asksForCredentials } from '../auth.ts'
import type { ServiceConfig } from './config.ts'
import type { Constraint } from './constraint.ts'

const hasKey = ({ jwtSecret, jwtPublicKey, jwksUrl }: ServiceConfig): boolean =>
  [jwtSecret, jwtPublicKey, jwksUrl].some(value => value !== undefined)

/** Variables about credentials that cannot be combined, or that require another one. */
export const authConstraints: readonly Constraint[] = [
  {
    among: ['OPEN_TO_ALL'],
    problem: config =>
      config.isOpenToAll && asksForCredentials(config)
        ? 'OPEN_TO_ALL=yes allows access without credentials, but ' +
          'JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER requires them: remove one of them'
        : undefined
  },
  {
    among: [],
    problem: ({ jwtSecret, jwtPublicKey, jwksUrl }) =>
      [jwtSecret, jwtPublicKey, jwksUrl].filter(value => value !== undefined).length > 1
        ? 'JWT_SECRET, JWT_PUBLIC_KEY and JWKS_URL are mutually exclusive: set one of them'
        : undefined
  },
  {
    among: ['JWT_SECRET', 'JWT_SECRET_PREVIOUS'],
    problem: ({ jwtSecret, jwtSecretPrevious }) => {
      if (jwtSecretPrevious === undefined) return undefined
      if (jwtSecret === undefined) return 'JWT_SECRET_PREVIOUS needs JWT_SECRET, the secret that replaces it'
      return jwtSecret === jwtSecretPrevious ? 'JWT_SECRET_PREVIOUS is the same as JWT_SECRET: remove it' : undefined
    }
  },
  {
    among: ['JWT_PUBLIC_KEY', 'JWT_ALGORITHM'],
    problem: ({ jwtPublicKey, jwtAlgorithm }) => {
      if ((jwtPublicKey === undefined) !== (jwtAlgorithm === undefined)) {
        return 'JWT_PUBLIC_KEY and JWT_ALGORITHM must be set together: set both or neither'
      }
      const problem =
        jwtPublicKey === undefined ? undefined : problemWithKey(readFileSync(jwtPublicKey, 'utf8'), jwtAlgorithm!)
      return problem === undefined
        ? undefined
        : `JWT_PUBLIC_KEY must hold a public key for ${jwtAlgorithm}, saw ${problem}`
    }
  },
  {
    among: ['JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWKS_URL'],
    problem: config => {
      const { jwtIssuer, jwtAudience, cookieName } = config
      const given = Object.entries({ JWT_ISSUER: jwtIssuer, JWT_AUDIENCE: jwtAudience, COOKIE_NAME: cookieName }).find(
        ([, value]) => value !== undefined
      )
      return given === undefined || hasKey(config)
        ? undefined
        : `${given[0]} applies to tokens only: also set JWT_SECRET, JWT_PUBLIC_KEY or JWKS_URL`
    }
  },
  {
    among: [],
    problem: ({ jwtAudience, jwtPublishAudience }) => jwtPublishAudience !== undefined && jwtAudience === undefined
      ? 'JWT_PUBLISH_AUDIENCE needs JWT_AUDIENCE, the audience for listening'
      : undefined
  },
  {
    among: ['PROXY_HEADER', 'PROXY_FROM'],
    problem: ({ proxyHeader, proxyFrom }) => (proxyHeader === undefined) === (proxyFrom === undefined)
      ? undefined
      : 'PROXY_HEADER and PROXY_FROM must be set together: set both or neither'
  }
]
