import { readFileSync } from 'node:fs'
import { closestMatch } from 'leven'
import { variables } from './config.ts'
import type { ServiceConfig, VariableName } from './config.ts'
import { untimelinessOf } from './secrets/pem.ts'
import { FILE_VARIABLES } from './read-config.ts'
import { looksLikeWords } from './secrets/secret.ts'

type Env = Record<string, string | undefined>

/** Why a valid configuration is probably a mistake; undefined if it is fine. */
type Rule = (config: ServiceConfig) => string | undefined

const RULES: readonly Rule[] = [
  ({ maxEventBytes, maxBodyBytes }) => maxEventBytes > maxBodyBytes
    ? `MAX_EVENT_BYTES=${maxEventBytes} is more than MAX_BODY_BYTES=${maxBodyBytes}: ` +
      'no JSON or text body can contain such an event'
    : undefined,
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
    : undefined,
  ({ tlsCert }) => {
    const untimely = tlsCert === undefined ? undefined : untimelinessOf(readFileSync(tlsCert))
    return untimely && `the certificate in TLS_CERT ${untimely}: clients reject it`
  },
  ({ dataDir }) => dataDir.startsWith('~')
    ? `DATA_DIR ${JSON.stringify(dataDir)} is a folder of that name: ~ stands for the home folder in a shell only`
    : undefined
]

function soundsChosen (name: string, secret: string | undefined): string | undefined {
  if (secret === undefined || !looksLikeWords(secret)) return undefined
  return `${name} looks like words chosen by a person, and can be guessed: generate one with openssl rand -base64 48`
}

const ENVELOPES: readonly [RegExp, string][] = [
  [/^(["']).*\1$/s, 'begins and ends with a quotation mark, which docker --env-file and Kubernetes do not remove'],
  [/^\s|\s$/, 'begins or ends with white space']
]

/** Values of any text that have more than was meant, such as a secret with which no token can be verified. */
function wrapped (config: ServiceConfig): string[] {
  return Object.entries(variables).flatMap(([name, { property }]) => {
    const value: unknown = config[property as keyof ServiceConfig]
    const envelope = typeof value === 'string' ? ENVELOPES.find(([pattern]) => pattern.test(value)) : undefined
    return envelope === undefined ? [] : [`${name} ${envelope[1]}: it is part of the value`]
  })
}

/** Variables that apply to one kind of log only; DATA_DIR is always set in the container. */
const OF_LOG: Partial<Record<VariableName, ServiceConfig['log']>> = {
  DURABILITY: 'lmdb', PREFIX: 'redis', REPLICAS_TIMEOUT_MS: 'redis', CANARY_MS: 'redis'
}

/** Values other than the default that the log does not use. */
function unused (config: ServiceConfig): string[] {
  return Object.entries(OF_LOG).flatMap(([name, log]) => {
    const { property, default: fallback } = variables[name as VariableName]
    return log === config.log || String(config[property]) === fallback
      ? []
      : [`${name} has no effect with LOG=${config.log}: it applies to LOG=${log} only`]
  })
}

/** What an operator should know about a valid configuration, one sentence each; empty if there is nothing. */
export function warningsOf (config: ServiceConfig, env: Env): string[] {
  return [...RULES.flatMap(rule => rule(config) ?? []), ...wrapped(config), ...unused(config), ...misspelt(env)]
}

const NAMES = [...Object.keys(variables), ...FILE_VARIABLES.values()]
/** How many letters may differ: LANG is not LOG, and HOME is not HOST. */
const maxDistance = ({ length }: string): number => length < 6 ? 1 : Math.min(3, Math.floor(length / 4))

/** The variable of which only the unit is missing, as in HEARTBEAT=15. */
const withUnit = (name: string): string | undefined => NAMES.find(each => each === `${name}_MS`)

/** Variables in the environment whose names are similar to ours. All others belong to other programs. */
function misspelt (env: Env): string[] {
  return Object.keys(env)
    .filter(name => env[name] && !NAMES.includes(name))
    .flatMap(name => {
      const upper = name.toUpperCase()
      const nearest = withUnit(upper) ?? closestMatch(upper, NAMES, { maxDistance: maxDistance(upper) })
      return nearest === undefined
        ? []
        : [`${name} is not a variable of the service and has no effect, did you mean ${nearest}?`]
    })
}
