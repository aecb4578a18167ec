import type { JWTPayload } from 'jose'
import { errors } from '../errors.ts'
import { isPattern } from './grant-init.ts'

/** Topic patterns for each right (an empty list allows nothing), and whether the bearer may revoke others. */
export interface TopicRights { subscribe: readonly string[], publish: readonly string[], revoke: boolean }

/** Values that a claim may insert for `{name}`: characters of a topic name, but no star. */
const VALUE = /^[A-Za-z0-9._~:@/-]+$/

/** Separators between the parts of a topic name. */
const SEPARATORS = './:'

/** Maximum length of a pattern before claims are inserted; the result is checked afterwards. */
const MAX_TEMPLATE_LENGTH = 256

/**
 * Reads `{ subscribe: [...], publish: [...], revoke: true }` from a claim. Missing fields allow nothing. `{sub}` in a
 * pattern is replaced by the string claim of that name; a pattern that cannot be filled in, or matches no topic, is
 * dropped. Throws 401 `FST_SSE_UNAUTHORIZED` if the claim has any other form.
 */
export function readTopicRights (payload: JWTPayload, claim: string): TopicRights {
  const rights: unknown = Object.hasOwn(payload, claim) ? payload[claim] : {}
  if (typeof rights !== 'object' || rights === null || Array.isArray(rights)) throw badClaim(claim)
  const { subscribe = [], publish = [], revoke = false } = rights as Partial<Record<keyof TopicRights, unknown>>
  if (!isTexts(subscribe) || !isTexts(publish) || typeof revoke !== 'boolean') throw badClaim(claim)
  return { subscribe: fill(subscribe, payload), publish: fill(publish, payload), revoke }
}

function badClaim (claim: string): Error {
  return new errors.FST_SSE_UNAUTHORIZED(
    `the claim "${claim}" of the token must be { subscribe: [...], publish: [...] } with lists of patterns ` +
        'of topics, and perhaps revoke: true: get another token'
  )
}

function isTexts (value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

function fill (patterns: string[], payload: JWTPayload): string[] {
  return patterns.map(pattern => fillOne(pattern, payload)).filter(isPattern)
}

/** Undefined if a claim is missing, is not a string, or could match more than one part of a topic name. */
function fillOne (pattern: string, payload: JWTPayload): string | undefined {
  if (pattern.length > MAX_TEMPLATE_LENGTH) return undefined
  let isGood = true
  const filled = pattern.replace(/\{([^{}]*)\}/g, (whole, name: string, at: number) => {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined
    const neighbours = [pattern[at - 1], pattern[at + whole.length]]
    if (typeof value === 'string' && VALUE.test(value) && isOnePart(value, neighbours)) return value
    isGood = false
    return ''
  })
  return isGood ? filled : undefined
}

/**
 * Otherwise, with `orders.{sub}.*`, a subject named `bob.admin` would get everything below `orders.bob.admin.`, which
 * may belong to bob.
 */
function isOnePart (value: string, neighbours: readonly (string | undefined)[]): boolean {
  return neighbours.every(
    character => character === undefined || !SEPARATORS.includes(character) || !value.includes(character)
  )
}
