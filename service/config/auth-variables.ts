import { PUBLIC_KEY_ALGORITHMS } from 'fastify-resumable-sse/auth'
import { authChecks } from 'fastify-resumable-sse/auth'
import { weaknessOf } from './secret.ts'
import { anyText, duration, list, oneOf, proxies, PROXIES, readableFile } from './variable.ts'
import type { Read, Variable } from './variable.ts'

const MIN_SECRET_BYTES = 32

/** What the plugin's option of this name takes. */
const asOption = (name: string): Read<string> => text => authChecks[name]!.ok(text) ? text : undefined
const asListOption = (name: string): Read<readonly string[]> => text => {
  const items = list(text)
  return authChecks[name]!.ok(items) ? items : undefined
}

const secret: Read<string> = text => asOption('jwt.secret')(text) !== undefined && weaknessOf(text) === undefined ? text : undefined

/** RFC 8725, 3.5: a key that people can remember can be guessed. */
function secretProblems (text: string): string[] {
  const weakness = asOption('jwt.secret')(text) === undefined ? undefined : weaknessOf(text)
  return weakness === undefined ? [] : [`must be random, and this one ${weakness}: make one with openssl rand -base64 48`]
}

/** As long as a timer can be. */
const MAX_LIFETIME_MS = 24 * 86_400_000
const lifetime: Read<number> = text => {
  const ms = duration(text)
  return ms !== undefined && ms >= 1_000 && ms <= MAX_LIFETIME_MS ? ms : undefined
}

/** Who may publish and listen: rows of the table in config.ts. */
export const authVariables = {
  JWT_SECRET: {
    property: 'jwtSecret',
    default: undefined,
    allowed: `a random text of at least ${MIN_SECRET_BYTES} bytes`,
    read: secret,
    problems: secretProblems,
    isSecret: () => true,
    show: () => '***',
    meaning: 'Secret shared with the issuer of the tokens, which are HS256: `openssl rand -base64 48`.'
  },
  JWT_SECRET_PREVIOUS: {
    property: 'jwtSecretPrevious',
    default: undefined,
    allowed: `a random text of at least ${MIN_SECRET_BYTES} bytes`,
    read: secret,
    problems: secretProblems,
    isSecret: () => true,
    show: () => '***',
    meaning: 'A second secret, whose tokens are accepted as well: set it while `JWT_SECRET` is being changed.'
  },
  JWT_PUBLIC_KEY: {
    property: 'jwtPublicKey',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: 'Public key of the issuer, PEM; together with `JWT_ALGORITHM`.'
  },
  JWT_ALGORITHM: {
    property: 'jwtAlgorithm',
    default: undefined,
    allowed: PUBLIC_KEY_ALGORITHMS.join(', '),
    read: oneOf(...PUBLIC_KEY_ALGORITHMS),
    meaning: 'The algorithm of `JWT_PUBLIC_KEY`; tokens with another one are refused.'
  },
  JWKS_URL: {
    property: 'jwksUrl',
    default: undefined,
    allowed: 'an https URL, or http on loopback',
    read: asOption('jwt.jwksUrl'),
    meaning: 'Where the issuer publishes its keys as a JWK Set; they are fetched anew when they change.'
  },
  JWT_ISSUER: {
    property: 'jwtIssuer',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    meaning: 'The claim `iss` of a token must be this. Not set: it is not looked at.'
  },
  JWT_AUDIENCE: {
    property: 'jwtAudience',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    meaning: 'The claim `aud` of a token must name this. Not set: it is not looked at.'
  },
  JWT_PUBLISH_AUDIENCE: {
    property: 'jwtPublishAudience',
    default: undefined,
    allowed: 'any text',
    read: anyText,
    meaning: 'Publishing needs a token for this audience, and `JWT_AUDIENCE` is for listening only.'
  },
  JWT_CLAIM: {
    property: 'jwtClaim',
    default: 'topics',
    allowed: 'the name of a claim',
    read: anyText,
    meaning: 'The claim that says what a token allows: `{"subscribe":["news.*"],"publish":[]}`.'
  },
  COOKIE_NAME: {
    property: 'cookieName',
    default: undefined,
    allowed: 'the name of a cookie',
    read: asOption('cookie.name'),
    meaning: 'A token is taken from this cookie, too.'
  },
  PROXY_HEADER: {
    property: 'proxyHeader',
    default: undefined,
    allowed: 'the name of a header',
    read: asOption('proxy.header'),
    meaning: 'A proxy that authenticates names the subject in this header; it may publish and listen to all topics. Together with `PROXY_FROM`.'
  },
  PROXY_FROM: {
    property: 'proxyFrom',
    default: undefined,
    allowed: PROXIES,
    read: proxies,
    meaning: 'The proxies from which `PROXY_HEADER` counts.'
  },
  MAX_LIFETIME: {
    property: 'maxLifetimeMs',
    default: undefined,
    allowed: 'a duration such as 30s, 10m, 2h or 1d, from 1s to 24d',
    read: lifetime,
    meaning: 'A stream is ended after this time, minus up to a tenth at random; the client reconnects, and its rights are checked again. Not set: one hour for subjects of `PROXY_HEADER`, and for others as long as their token.'
  },
  ALLOWED_HOSTS: {
    property: 'allowedHosts',
    default: undefined,
    allowed: 'hosts such as events.example or events.example:8443, separated by commas',
    read: asListOption('hosts'),
    meaning: 'Values of the Host header that are served, with or without the port; others get 421. Not set: all, and only names of loopback where nobody signs in.'
  }
} as const satisfies Record<string, Variable>
