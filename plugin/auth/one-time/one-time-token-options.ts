import { errors } from '../../reply/errors.ts'
import { withoutUndefined } from '../../common/given.ts'
import { show } from '../../common/show.ts'
import type { TokenStore } from './token-store.ts'

export interface OneTimeTokenOptions {
  /** Where tokens, sessions and revocations are kept. */
  store: TokenStore
  /** Path of the call that issues tokens. Default `/events/auth`. */
  path?: string
  /** Path of the call that revokes. Default `/events/revoke`. */
  revokePath?: string
  /** A token can be redeemed for so many ms. Default 30,000. */
  ttlMs?: number
  /** A session without a stream can be resumed for so many ms. Default 3,600,000. */
  sessionIdleMs?: number
  /** A session lasts so many ms at most, and never longer than the grant. Default 86,400,000. */
  sessionMaxMs?: number
  /** The same request of the same client within so many ms after the redemption is the same session. Default 10,000. */
  graceMs?: number
  /** A revoked subject is remembered for so many ms: as long as your longest grant. Default 2,592,000,000, 30 days. */
  revocationMs?: number
  /** Cookies without `Secure`, for development over plain http. Default false. */
  insecure?: boolean
  /** Tokens that one subject may ask for within `limitWindowMs`. Default 60. */
  maxPerSubject?: number
  /** Tokens that may be asked for from one address within `limitWindowMs`. Default 600. */
  maxPerAddress?: number
  /** How often one address may show the same token that is not valid within `limitWindowMs`. Default 60. */
  maxFailures?: number
  /** The window of the three limits, in ms. Default 60,000. */
  limitWindowMs?: number
}

export type ResolvedTokenOptions = Required<OneTimeTokenOptions>

const MAX_MS = 366 * 86_400_000

type Check = { range: string, ok: (value: unknown) => boolean }
const integer = (min: number, max: number, unit: string): Check => ({
  range: `an integer from ${min} to ${max} (${unit})`,
  ok: value => Number.isInteger(value) && Number(value) >= min && Number(value) <= max
})
const path: Check = {
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

/** What each may be, in words and as a test. */
export const tokenChecks: Record<keyof OneTimeTokenOptions, Check> = {
  store: { range: 'a token store', ok: value => typeof value === 'object' && value !== null && 'redeem' in value },
  path,
  revokePath: path,
  ttlMs: integer(1, 600_000, 'ms'),
  sessionIdleMs: integer(1, MAX_MS, 'ms'),
  sessionMaxMs: integer(1, MAX_MS, 'ms'),
  graceMs: integer(0, 60_000, 'ms'),
  revocationMs: integer(1, MAX_MS, 'ms'),
  insecure: { range: 'true or false', ok: value => typeof value === 'boolean' },
  maxPerSubject: integer(1, 1_000_000, 'tokens'),
  maxPerAddress: integer(1, 1_000_000, 'tokens'),
  maxFailures: integer(1, 1_000_000, 'tries'),
  limitWindowMs: integer(1, 86_400_000, 'ms')
}

/** Fills in the defaults. Throws `FST_SSE_BAD_OPTION` naming the option, its range and the value seen. */
export function resolveTokenOptions (given: OneTimeTokenOptions): ResolvedTokenOptions {
  const options = { ...tokenDefaults, ...withoutUndefined(given) }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(tokenChecks, name) ? tokenChecks[name as keyof OneTimeTokenOptions] : undefined
    if (!check) {
      throw new errors.FST_SSE_BAD_OPTION(
        'oneTimeToken',
        name,
        `one of ${Object.keys(tokenChecks).join(', ')}`,
        'an unknown option'
      )
    }
    if (!check.ok(value)) throw new errors.FST_SSE_BAD_OPTION('oneTimeToken', name, check.range, show(value))
  }
  if (!Object.hasOwn(options, 'store')) {
    throw new errors.FST_SSE_BAD_OPTION('oneTimeToken', 'store', tokenChecks.store.range, 'none')
  }
  return options
}
