import { errors } from '../errors.ts'
import { checkOptions, integer, trueOrFalse, withoutUndefined } from '../../common/option-check.ts'
import type { OptionCheck } from '../../common/option-check.ts'
import type { TokenStore } from './token-store.ts'

export interface OneTimeTokenOptions {
  /** Where tokens, sessions and revocations are kept. */
  store: TokenStore
  /** Path of the route that issues tokens. Default `/events/auth`. */
  path?: string
  /** Path of the route for revocation. Default `/events/revoke`. */
  revokePath?: string
  /** How long a token can be redeemed, in ms. Default 30,000. */
  ttlMs?: number
  /** How long a session without a stream can be resumed, in ms. Default 3,600,000. */
  sessionIdleMs?: number
  /** Maximum duration of a session, in ms; it never outlasts the grant. Default 86,400,000. */
  sessionMaxMs?: number
  /**
   * A repetition of the same request by the same client within this many ms of the redemption belongs to the same
   * session. Default 10,000.
   */
  graceMs?: number
  /** How long a revoked subject is remembered, in ms: as long as your longest grant. Default 2,592,000,000, 30 days. */
  revocationMs?: number
  /** Send cookies without `Secure`, for development over plain HTTP. Default false. */
  insecure?: boolean
  /** Tokens that one subject may request within `limitWindowMs`. Default 60. */
  maxPerSubject?: number
  /** Tokens that may be requested from one address within `limitWindowMs`. Default 600. */
  maxPerAddress?: number
  /** How often one address may present the same invalid token within `limitWindowMs`. Default 60. */
  maxFailures?: number
  /** The window of the three limits, in ms. Default 60,000. */
  limitWindowMs?: number
}

export type ResolvedTokenOptions = Required<OneTimeTokenOptions>

const MAX_MS = 366 * 86_400_000

const path: OptionCheck = {
  range: 'a path that begins with "/"',
  ok: value => typeof value === 'string' && value.startsWith('/')
}

/** One row per option but the store, in the order of the documents. */
export const tokenDefaults = {
  path: '/events/auth',
  revokePath: '/events/revoke',
  ttlMs: 30_000,
  sessionIdleMs: 3_600_000,
  sessionMaxMs: 86_400_000,
  graceMs: 10_000,
  revocationMs: 2_592_000_000,
  insecure: false,
  maxPerSubject: 60,
  maxPerAddress: 600,
  maxFailures: 60,
  limitWindowMs: 60_000
} satisfies Omit<ResolvedTokenOptions, 'store'>

/** The allowed values of each option, in words and as a test. */
export const tokenChecks: Record<keyof OneTimeTokenOptions, OptionCheck> = {
  store: { range: 'a token store', ok: value => typeof value === 'object' && value !== null && 'redeem' in value },
  path,
  revokePath: path,
  ttlMs: integer(1, 600_000, 'ms'),
  sessionIdleMs: integer(1, MAX_MS, 'ms'),
  sessionMaxMs: integer(1, MAX_MS, 'ms'),
  graceMs: integer(0, 60_000, 'ms'),
  revocationMs: integer(1, MAX_MS, 'ms'),
  insecure: trueOrFalse,
  maxPerSubject: integer(1, 1_000_000, 'tokens'),
  maxPerAddress: integer(1, 1_000_000, 'tokens'),
  maxFailures: integer(1, 1_000_000, 'tries'),
  limitWindowMs: integer(1, 86_400_000, 'ms')
}

/** Fills in the defaults. Throws `FST_SSE_BAD_OPTION` naming the option, its range and the value seen. */
export function resolveTokenOptions (given: OneTimeTokenOptions): ResolvedTokenOptions {
  const options = { ...tokenDefaults, ...withoutUndefined(given) }
  checkOptions(options, tokenChecks, (...seen) => new errors.FST_SSE_BAD_OPTION('oneTimeToken', ...seen))
  if (!Object.hasOwn(options, 'store')) {
    throw new errors.FST_SSE_BAD_OPTION('oneTimeToken', 'store', tokenChecks.store.range, 'none')
  }
  return options
}
