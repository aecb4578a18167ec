import { KeyObject } from 'node:crypto'
import { types } from 'node:util'
import { errors } from './errors.ts'
import { show } from '../common/show.ts'
import {
  integer, isFunction, isObject, trueOrFalse, unknownOption, withoutRegisterOptions, withoutUndefined
} from '../common/option-check.ts'
import type { OptionCheck } from '../common/option-check.ts'
import { MAX_TIMER_MS } from '../common/timers.ts'
import type { CookieOptions } from './credentials/cookie.ts'
import { isPattern } from './grants/grant-init.ts'
import { PUBLIC_KEY_ALGORITHMS } from './jwt/jwt-options.ts'
import type { JwtOptions, PublicKey } from './jwt/jwt-options.ts'
import { tokenChecks } from './one-time/one-time-token-options.ts'
import type { OneTimeTokenOptions } from './one-time/one-time-token-options.ts'
import { isNetwork } from './proxy.ts'
import type { ProxyOptions } from './proxy.ts'
import { fitsAlgorithm, readPublicKey } from './jwt/public-key.ts'
import type { TokenStore } from './one-time/token-store.ts'

/** Options of the auth plugin; at least one source is required. */
export interface AuthOptions {
  /** Verification of JSON Web Tokens: `Authorization: Bearer`, or in a cookie. */
  jwt?: JwtOptions
  /** A session cookie. */
  cookie?: CookieOptions
  /** A header set by an authenticating proxy. */
  proxy?: ProxyOptions
  /** One-time tokens for EventSource, which cannot send headers. */
  oneTimeToken?: OneTimeTokenOptions
  /** Where revocations are kept; with one-time tokens that is their store. Default: the memory of the process. */
  store?: TokenStore
  /**
   * Other origins whose pages may use cookies, the proxy's header and one-time tokens, such as `https://app.example`.
   * Default none.
   */
  origins?: readonly string[]
  /**
   * Accepted values of the Host header on routes with `grant`, with or without the port; others get 421. Default: all.
   */
  hosts?: readonly string[]
  /** How long before its end a client receives `stream.expiring`, in ms; 0 sends none. Default 60,000. */
  expiryWarningMs?: number
  /** How often the grants of open streams are checked again, in ms. Default 30,000. */
  recheckMs?: number
  /**
   * How long `cookie.verify` and the store may take to respond to such a check, in ms; later responses are ignored.
   * Default 10,000.
   */
  recheckTimeoutMs?: number
  /**
   * Name of the app's property with `revoke()`, `issue()` and `onRevoked()`. Default `auth`; choose another one if
   * something else provides `app.auth`, such as `@fastify/auth`.
   */
  decoratorName?: string
}

export const AUTH_DEFAULTS = {
  expiryWarningMs: 60_000, recheckMs: 30_000, recheckTimeoutMs: 10_000, decoratorName: 'auth'
} as const

const MIN_SECRET_BYTES = 32

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
const isFilledList = (value: unknown, isItem: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length > 0 && value.every(isItem)
// A token as in RFC 9110, section 5.6.2: names of headers and cookies.
const isToken = (value: unknown): boolean => typeof value === 'string' && /^[!#$%&'*+.^_`|~A-Za-z0-9-]+$/.test(value)
const text: OptionCheck = { range: 'a string that is not empty', ok: isText }
const patterns: OptionCheck = {
  range: 'a list of patterns of topics, such as "orders.*"',
  ok: value => Array.isArray(value) && value.every(isPattern)
}
const verify: OptionCheck = { range: 'a function', ok: isFunction }
const algorithmNames = PUBLIC_KEY_ALGORITHMS.map(name => JSON.stringify(name)).join(', ')
const isAlgorithm = (value: unknown): boolean => PUBLIC_KEY_ALGORITHMS.some(name => name === value)

/**
 * One row per option: its allowed range in words, and the test. Shown in error messages and in the table of
 * docs/auth.md.
 */
export const authChecks: Record<string, OptionCheck> = {
  'jwt.secret': { range: `a string or bytes, at least ${MIN_SECRET_BYTES} bytes`, ok: isSecret },
  'jwt.previousSecret': { range: `a string or bytes, at least ${MIN_SECRET_BYTES} bytes`, ok: isSecret },
  'jwt.publicKey': {
    range: 'a public key that fits jwt.algorithm, as PEM, JWK or KeyObject; RSA from 2048 bits',
    ok: value => value !== undefined
  },
  'jwt.algorithm': { range: `one of ${algorithmNames}`, ok: isAlgorithm },
  'jwt.jwksUrl': { range: 'an https URL, or http on loopback', ok: isKeySetUrl },
  'jwt.algorithms': { range: `a list of ${algorithmNames}`, ok: value => isFilledList(value, isAlgorithm) },
  'jwt.issuer': text,
  'jwt.audience': { range: 'a string or { subscribe, publish } with one each', ok: isAudience },
  'jwt.clockToleranceMs': integer(0, 300_000, 'ms'),
  'jwt.claim': text,
  'jwt.maxTokenBytes': integer(256, 65_536, 'bytes'),
  'cookie.name': { range: 'the name of a cookie', ok: isToken },
  'cookie.signed': trueOrFalse,
  'cookie.verify': verify,
  'cookie.jwt': trueOrFalse,
  'proxy.header': { range: 'the name of a header', ok: isToken },
  'proxy.from': { range: 'a list of IP addresses and CIDR blocks', ok: value => isFilledList(value, isNetwork) },
  'proxy.verify': verify,
  'proxy.subscribe': patterns,
  'proxy.publish': patterns,
  'proxy.maxLifetimeMs': integer(1_000, MAX_TIMER_MS, 'ms'),
  store: tokenChecks.store,
  origins: {
    range: 'a list of origins such as "https://app.example"',
    ok: value => Array.isArray(value) && value.every(isOrigin)
  },
  hosts: {
    range: 'a list of hosts such as "app.example" or "app.example:8443"',
    ok: value => isFilledList(value, isHost)
  },
  expiryWarningMs: integer(0, MAX_TIMER_MS, 'ms'),
  recheckMs: integer(10, MAX_TIMER_MS, 'ms'),
  recheckTimeoutMs: integer(10, MAX_TIMER_MS, 'ms'),
  decoratorName: {
    range: 'the name of a property', ok: value => typeof value === 'string' && /^[a-z_$][\w$]*$/i.test(value)
  }
}

/** Options whose value an error message must not show, only its size. */
const SECRETS = new Set(['jwt.secret', 'jwt.previousSecret'])
const GROUPS = ['jwt', 'cookie', 'proxy'] as const
const SOURCES = [...GROUPS, 'oneTimeToken'] as const
const NAMES = [...SOURCES, ...Object.keys(authChecks).filter(name => !name.includes('.'))]

/** Checks everything once and fills in the defaults. Throws `FST_SSE_BAD_OPTION`, without the value of a secret. */
export function resolveAuthOptions (options: AuthOptions): AuthOptions & typeof AUTH_DEFAULTS {
  const given = givenOptions(options)
  for (const [name, value] of Object.entries(given)) {
    if (!NAMES.includes(name)) throw unknownOption(name, NAMES, bad)
    if (isGroup(name)) checkGroup(name, value)
    else if (name !== 'oneTimeToken') check(name, value)
  }
  if (SOURCES.every(name => given[name] === undefined)) {
    throw bad('options', `given with at least one of ${SOURCES.join(', ')}`, 'none of them')
  }
  if (given.store && given.oneTimeToken) throw bad('store', 'left out where oneTimeToken has one', 'both')
  if (given.jwt) checkKey(given.jwt)
  if (given.cookie) checkCookie(given.cookie, given.jwt)
  if (given.proxy) needAll('proxy', given.proxy, ['header', 'from'])
  return { ...AUTH_DEFAULTS, ...given } as AuthOptions & typeof AUTH_DEFAULTS
}

/** An explicit `undefined` counts as not given, in groups too. */
function givenOptions (options: AuthOptions): AuthOptions {
  return Object.fromEntries(
    Object.entries(withoutUndefined(withoutRegisterOptions(options))).map(([name, value]) => [
      name,
      isGroup(name) && isObject(value) ? withoutUndefined(value) : value
    ])
  )
}

const isGroup = (name: string): name is (typeof GROUPS)[number] => GROUPS.some(group => group === name)

function checkGroup (group: string, value: unknown): void {
  if (!isObject(value)) throw bad(group, 'an object', typeof value)
  for (const [name, option] of Object.entries(value)) check(`${group}.${name}`, option)
}

function check (name: string, value: unknown): void {
  const row = Object.hasOwn(authChecks, name) ? authChecks[name] : undefined
  if (!row) {
    throw unknownOption(name, Object.keys(authChecks).filter(known => known.startsWith(`${name.split('.')[0]}.`)), bad)
  }
  if (value !== undefined && !row.ok(value)) {
    throw bad(name, row.range, SECRETS.has(name) ? sizeOf(value) : show(value).replace(/\/\/[^/]*@/, '//***@'))
  }
}

function needAll (group: string, value: object, names: readonly string[]): void {
  for (const name of names) {
    if ((value as Record<string, unknown>)[name] === undefined) {
      throw bad(`${group}.${name}`, authChecks[`${group}.${name}`]!.range, 'undefined')
    }
  }
}

const KEYS = ['secret', 'publicKey', 'jwksUrl'] as const

/** Exactly one key, and only the algorithms that fit it. */
function checkKey (jwt: JwtOptions): void {
  const given = KEYS.filter(name => (jwt as Partial<Record<(typeof KEYS)[number], unknown>>)[name] !== undefined)
  if (given.length !== 1) {
    throw bad('jwt', `given with one of ${KEYS.join(', ')}`, given.length === 0 ? 'none of them' : given.join(' and '))
  }
  if ('previousSecret' in jwt && given[0] !== 'secret') {
    throw bad('jwt.previousSecret', 'given with jwt.secret only', `it beside jwt.${given[0]}`)
  }
  if ('algorithms' in jwt && given[0] !== 'jwksUrl') {
    throw bad('jwt.algorithms', 'given with jwt.jwksUrl only', `it beside jwt.${given[0]}`)
  }
  if ('algorithm' in jwt && given[0] !== 'publicKey') {
    throw bad('jwt.algorithm', 'given with jwt.publicKey only', `it beside jwt.${given[0]}`)
  }
  if (given[0] !== 'publicKey') return
  needAll('jwt', jwt, ['algorithm'])
  checkPublicKey(jwt as PublicKey)
}

function checkPublicKey ({ publicKey, algorithm }: PublicKey): void {
  const problem = problemWithKey(publicKey, algorithm)
  if (problem !== undefined) throw bad('jwt.publicKey', authChecks['jwt.publicKey']!.range, problem)
}

/** What is wrong with a key for this algorithm; undefined if nothing is. */
export function problemWithKey (
  publicKey: PublicKey['publicKey'],
  algorithm: PublicKey['algorithm']
): string | undefined {
  if (isPrivate(publicKey)) return 'a private key'
  try {
    const key = readPublicKey(publicKey)
    return fitsAlgorithm(key, algorithm)
      ? undefined
      : `a ${key.type} key of type ${key.asymmetricKeyType} for ${algorithm}`
  } catch {
    return 'something that cannot be read as a key'
  }
}

/**
 * node:crypto would derive the public key from it, but a private key here is a mistake that its owner should know
 * about.
 */
function isPrivate (key: PublicKey['publicKey']): boolean {
  return typeof key === 'string'
    ? key.includes('PRIVATE KEY')
    : key instanceof KeyObject
      ? key.type === 'private'
      : 'd' in key
}

function checkCookie (cookie: CookieOptions, jwt: JwtOptions | undefined): void {
  needAll('cookie', cookie, ['name'])
  if (cookie.jwt !== true) return needAll('cookie', cookie, ['verify'])
  if (jwt === undefined) throw bad('cookie.jwt', 'given together with jwt', 'true and no jwt')
  const beside = ['signed', 'verify'].find(name => (cookie as Record<string, unknown>)[name] !== undefined)
  if (beside !== undefined) throw bad(`cookie.${beside}`, 'left out where cookie.jwt is true', 'both')
}

const bad = (name: string, range: string, seen: string): Error =>
  new errors.FST_SSE_BAD_OPTION('auth', name, range, seen)

function isSecret (value: unknown): boolean {
  return (typeof value === 'string' || types.isUint8Array(value)) && Buffer.byteLength(value) >= MIN_SECRET_BYTES
}

const sizeOf = (value: unknown): string =>
  typeof value === 'string' || types.isUint8Array(value) ? `${Buffer.byteLength(value)} bytes` : typeof value

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

function isKeySetUrl (value: unknown): boolean {
  if (!(typeof value === 'string' || value instanceof URL) || !URL.canParse(String(value))) return false
  const { protocol, hostname } = new URL(value)
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.has(hostname))
}

function isAudience (value: unknown): boolean {
  if (!isObject(value)) return isText(value)
  return isText(value.subscribe) && isText(value.publish) && Object.keys(value).length === 2
}

/** In the form that browsers send: nothing after the host except a port that is not the default of the scheme. */
function isOrigin (value: unknown): boolean {
  return typeof value === 'string' && URL.canParse(value) && /^https?:/.test(value) && new URL(value).origin === value
}

function isHost (value: unknown): boolean {
  return typeof value === 'string' && /^(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.test(value)
}
