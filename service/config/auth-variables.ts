import { authChecks, PUBLIC_KEY_ALGORITHMS } from 'fastify-resumable-sse/auth'
import { weaknessOf } from './secrets/secret.ts'
import { anyText, duration, list, oneOf, proxies, PROXIES, readableFile, unreadable } from './variable.ts'
import type { Read, Variable } from './variable.ts'

const MIN_SECRET_BYTES = 32

/** What the plugin option of this name accepts. */
const asOption = (name: string): Read<string> => text => authChecks[name]!.ok(text) ? text : undefined
const asListOption = (name: string): Read<readonly string[]> => text => {
  const items = list(text)
  return authChecks[name]!.ok(items) ? items : undefined
}

const secret: Read<string> = text =>
  asOption('jwt.secret')(text) !== undefined && weaknessOf(text) === undefined ? text : undefined

/** RFC 8725, 3.5: a key that people can remember can be guessed. */
function secretProblems (text: string): string[] {
  const weakness = asOption('jwt.secret')(text) === undefined ? undefined : weaknessOf(text)
  return weakness === undefined
    ? []
    : [`must be random, but this one ${weakness}: generate one with openssl rand -base64 48`]
}

/** The longest timer of Node. */
const MAX_LIFETIME_MS = 24 * 86_400_000
const lifetime: Read<number> = text => {
  const ms = duration(text)
  return ms !== undefined && ms >= 1_000 && ms <= MAX_LIFETIME_MS ? ms : undefined
}

/** What is common to variables that contain a secret. */
const sharedSecret = {
  default: undefined,
  allowed: `a random string of at least ${MIN_SECRET_BYTES} bytes`,
  read: secret,
  problems: secretProblems,
  isSecret: () => true,
  show: () => '***'
}

/** Who may publish and subscribe: rows of the table in config.ts. */
export const authVariables = {
  JWT_SECRET: {
    property: 'jwtSecret',
    ...sharedSecret,
    meaning: 'Secret shared with the issuer of HS256 tokens. Create it with `openssl rand -base64 48`.'
  },
  JWT_SECRET_PREVIOUS: {
    property: 'jwtSecretPrevious',
    ...sharedSecret,
    meaning: 'A second secret whose tokens are also accepted: set it while you rotate `JWT_SECRET`.'
  },
  JWT_PUBLIC_KEY: {
    property: 'jwtPublicKey',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Public key of the issuer, PEM; together with `JWT_ALGORITHM`.'
  },
  JWT_ALGORITHM: {
    property: 'jwtAlgorithm',
    default: undefined,
    allowed: PUBLIC_KEY_ALGORITHMS.join(', '),
    read: oneOf(...PUBLIC_KEY_ALGORITHMS),
    meaning: 'Algorithm of `JWT_PUBLIC_KEY`; tokens with another one are rejected.'
  },
  JWKS_URL: {
    property: 'jwksUrl',
    default: undefined,
    allowed: 'an https URL, or http on loopback',
    read: asOption('jwt.jwksUrl'),
    meaning: "URL of the issuer's JWK Set; it is fetched again when keys change."
  },
  JWT_ISSUER: {
    property: 'jwtIssuer',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    meaning: 'Required value of the claim `iss`. If not set, the claim is not checked.'
  },
  JWT_AUDIENCE: {
    property: 'jwtAudience',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    meaning: 'Required value of the claim `aud`. If not set, the claim is not checked.'
  },
  JWT_PUBLISH_AUDIENCE: {
    property: 'jwtPublishAudience',
    default: undefined,
    allowed: 'any string',
    read: anyText,
    meaning: 'Audience that a token needs to publish; `JWT_AUDIENCE` then allows subscribing only.'
  },
  JWT_CLAIM: {
    property: 'jwtClaim',
    default: 'topics',
    allowed: 'the name of a claim',
    read: anyText,
    meaning: 'Name of the claim with the permissions of a token: `{"subscribe":["news.*"],"publish":[]}`.'
  },
  COOKIE_NAME: {
    property: 'cookieName',
    default: undefined,
    allowed: 'the name of a cookie',
    read: asOption('cookie.name'),
    meaning: 'Name of a cookie in which a token is also accepted.'
  },
  PROXY_HEADER: {
    property: 'proxyHeader',
    default: undefined,
    allowed: 'the name of a header',
    read: asOption('proxy.header'),
    meaning: 'Header in which an authenticating proxy sends the subject, which may then publish and subscribe to ' +
      'all topics; together with `PROXY_FROM`.'
  },
  PROXY_FROM: {
    property: 'proxyFrom',
    default: undefined,
    allowed: PROXIES,
    read: proxies,
    meaning: 'Addresses of the proxies from which `PROXY_HEADER` is accepted.'
  },
  MAX_LIFETIME: {
    property: 'maxLifetimeMs',
    default: undefined,
    allowed: 'a duration such as 30s, 10m, 2h or 1d, from 1s to 24d',
    read: lifetime,
    meaning: 'A stream is ended after this time, minus up to a tenth at random; the client reconnects, and its ' +
      'permissions are checked again. Default: one hour for subjects of `PROXY_HEADER`, otherwise until the token ' +
      'expires.'
  },
  ALLOWED_HOSTS: {
    property: 'allowedHosts',
    default: undefined,
    allowed: 'hosts such as events.example or events.example:8443, separated by commas',
    read: asListOption('hosts'),
    meaning: 'Accepted values of the `Host` header, with or without the port; other requests get 421. Default: ' +
      'all, or only names of loopback if no credentials are configured.'
  }
} as const satisfies Record<string, Variable>
