import { errors } from '../errors.ts'
import { show } from '../../common/show.ts'
import type { GrantInit } from './grant.ts'

const MAX_SUBJECT_LENGTH = 256
const MAX_PATTERN_LENGTH = 256

// All characters of topic names, and the star.
const PATTERN = /^[A-Za-z0-9._~:@/*-]+$/
// Control characters, and unpaired surrogates: all of the latter become one character when encoded as UTF-8, as in
// Redis, so that revoking such a subject would also revoke another one.
const UNUSABLE = /[\p{Cc}\p{Cs}]/u

/** True for a valid subject of a grant. */
export function isSubject (value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_SUBJECT_LENGTH && !UNUSABLE.test(value)
}

/** True for a pattern that can match a topic. */
export function isPattern (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_PATTERN_LENGTH && PATTERN.test(value)
}

const isPatterns = (value: unknown): boolean => value === undefined || (Array.isArray(value) && value.every(isPattern))
const isTime = (value: unknown): boolean => value === undefined || (typeof value === 'number' && value >= 0)

const PATTERNS_ALLOWED = 'a list of patterns of topics, such as "orders.*"'
const TIME_ALLOWED = 'a number (Unix ms)'
const GRANT_ALLOWED =
  'an object { subject, subscribe?, publish?, expiresAtMs?, issuedAtMs?, revoke? } or null'

/** One row per field of the value that an app's `verify` returns: the allowed values, and the test. */
export const grantChecks: Record<keyof GrantInit, { allowed: string, ok: (value: unknown) => boolean }> = {
  subject: { allowed: `a string of 1 to ${MAX_SUBJECT_LENGTH} characters without control characters`, ok: isSubject },
  subscribe: { allowed: PATTERNS_ALLOWED, ok: isPatterns },
  publish: { allowed: PATTERNS_ALLOWED, ok: isPatterns },
  expiresAtMs: { allowed: TIME_ALLOWED, ok: isTime },
  issuedAtMs: { allowed: TIME_ALLOWED, ok: isTime },
  revoke: { allowed: 'true or false', ok: value => value === undefined || typeof value === 'boolean' }
}

/**
 * Checks a grant that application code returned; null stays null. A misspelt right is a bug in that code and must not
 * mean "no limit". Throws 500 `FST_SSE_BAD_GRANT`, which names the source, the field, the allowed values and the value
 * seen.
 */
export function checkGrantInit (from: string, init: unknown): GrantInit | null {
  if (init === null) return null
  if (typeof init !== 'object') throw new errors.FST_SSE_BAD_GRANT(from, 'the grant', GRANT_ALLOWED, show(init))
  for (const name of Object.keys(init)) {
    if (Object.hasOwn(grantChecks, name)) continue
    throw new errors.FST_SSE_BAD_GRANT(
      from,
      `"${name}"`,
      `one of ${Object.keys(grantChecks).join(', ')}`,
      'an unknown field'
    )
  }
  for (const [name, { allowed, ok }] of Object.entries(grantChecks)) {
    const value = (init as GrantInit)[name as keyof GrantInit]
    if (!ok(value)) throw new errors.FST_SSE_BAD_GRANT(from, `"${name}"`, allowed, show(value))
  }
  return init as GrantInit
}
