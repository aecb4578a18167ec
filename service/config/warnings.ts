import { closestMatch } from 'leven'
import { variables } from './config.ts'
import type { ServiceConfig } from './config.ts'
import { FILE_VARIABLES } from './read-config.ts'
import { looksLikeWords } from './secret.ts'

type Env = Record<string, string | undefined>

/** Why a valid configuration is probably a mistake; undefined if it is fine. */
type Doubt = (config: ServiceConfig) => string | undefined

const DOUBTS: readonly Doubt[] = [
  ({ jwtSecret }) => soundsChosen('JWT_SECRET', jwtSecret),
  ({ jwtSecretPrevious }) => soundsChosen('JWT_SECRET_PREVIOUS', jwtSecretPrevious),
  ({ jwksUrl, jwtAudience, jwtIssuer }) => {
    const missing = Object.entries({ JWT_AUDIENCE: jwtAudience, JWT_ISSUER: jwtIssuer })
      .filter(([, value]) => value === undefined)
      .map(([name]) => name)
    return jwksUrl !== undefined && missing.length > 0
      ? `JWKS_URL without ${missing.join(' and ')}: tokens that the issuer made for other services are accepted too`
      : undefined
  },
  ({ proxyHeader, trustProxy }) => proxyHeader !== undefined && trustProxy === undefined
    ? 'PROXY_HEADER without TRUST_PROXY: all clients have the address of the proxy, and share the limits of one address'
    : undefined
]

function soundsChosen (name: string, secret: string | undefined): string | undefined {
  if (secret === undefined || !looksLikeWords(secret)) return undefined
  return `${name} looks like words chosen by a person, and can be guessed: generate one with openssl rand -base64 48`
}

/** What an operator should know about a valid configuration, one sentence each; empty if there is nothing. */
export function warningsOf (config: ServiceConfig, env: Env): string[] {
  return [...DOUBTS.flatMap(doubt => doubt(config) ?? []), ...misspelt(env)]
}

const NAMES = [...Object.keys(variables), ...FILE_VARIABLES.values()]
/** How many letters may differ: LANG is not LOG, and HOME is not HOST. */
const maxDistance = ({ length }: string): number => length < 6 ? 1 : Math.min(3, Math.floor(length / 4))

/** Variables in the environment whose names are similar to ours. All others belong to other programs. */
function misspelt (env: Env): string[] {
  return Object.keys(env)
    .filter(name => env[name] && !NAMES.includes(name))
    .flatMap(name => {
      const upper = name.toUpperCase()
      const nearest = closestMatch(upper, NAMES, { maxDistance: maxDistance(upper) })
      return nearest === undefined
        ? []
        : [`${name} is not a variable of the service and has no effect, did you mean ${nearest}?`]
    })
}
