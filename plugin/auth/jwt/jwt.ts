import type { FastifyBaseLogger } from 'fastify'
import { decodeProtectedHeader, errors as jose, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyOptions } from 'jose'
import { errors } from '../errors.ts'
import { readTopicRights } from '../grants/claims.ts'
import type { TopicRights } from '../grants/claims.ts'
import { isSubject } from '../grants/grant-init.ts'
import type { GrantInit } from '../grants/grant.ts'
import type { JwtOptions } from './jwt-options.ts'
import { createSigningKey } from './signing-key.ts'
import type { SigningKey } from './signing-key.ts'

export const JWT_DEFAULTS = { claim: 'topics', clockToleranceMs: 0, maxTokenBytes: 8_192 } as const

/** Headers with which a token could supply its own key or require an extension; all of them are rejected. */
const REFUSED_HEADERS = ['jku', 'jwk', 'x5u', 'x5c', 'crit'] as const

/** RFC 9068 and RFC 7519. A token of another type (a DPoP proof, a logout token) was issued for another purpose. */
const TYPES = ['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']

/**
 * How far the issuer's clock may be ahead of ours, in ms, in addition to `clockToleranceMs`: `iat` is compared with the
 * times of revocations.
 */
export const ISSUED_AHEAD_MS = 5_000

/** The latest date, in Unix seconds. JSON allows larger numbers, and 1e400 is parsed as Infinity. */
const MAX_TIME_S = 8_640_000_000_000

/** Verifies JSON Web Tokens (RFC 7519, RFC 8725) and reads what they grant. */
export class JwtVerifier {
  readonly #options: JwtOptions & typeof JWT_DEFAULTS
  readonly #key: SigningKey
  readonly #checks: JWTVerifyOptions

  /** The options have been checked. `log` reports key sets that cannot be fetched. */
  constructor (options: JwtOptions, log: FastifyBaseLogger) {
    this.#options = { ...JWT_DEFAULTS, ...options } as JwtOptions & typeof JWT_DEFAULTS
    this.#key = createSigningKey(options, log)
    const { issuer, audience, clockToleranceMs } = this.#options
    this.#checks = {
      algorithms: this.#key.algorithms,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: clockToleranceMs / 1_000,
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined
        ? {}
        : { audience: typeof audience === 'string' ? audience : [audience.subscribe, audience.publish] })
    }
  }

  /**
   * Returns what the token grants. Throws 401 `FST_SSE_UNAUTHORIZED` with the reason, or 503 `FST_SSE_KEYS_UNAVAILABLE`
   * if the key set is unavailable.
   */
  async verify (token: string): Promise<GrantInit> {
    const { maxTokenBytes } = this.#options
    if (token.length > maxTokenBytes) {
      throw new errors.FST_SSE_UNAUTHORIZED(
        `the token has more than ${maxTokenBytes} bytes: ask its issuer for a shorter one`
      )
    }
    return this.#toGrant(await this.#read(token))
  }

  async #read (token: string): Promise<JWTPayload> {
    try {
      const header = decodeProtectedHeader(token)
      const refused = REFUSED_HEADERS.find(name => name in header)
      if (header.typ !== undefined && !TYPES.includes(header.typ.toLowerCase())) {
        throw new errors.FST_SSE_UNAUTHORIZED('the token is of another type (header "typ"): get an access token')
      }
      if (refused !== undefined) {
        throw new errors.FST_SSE_UNAUTHORIZED(
          `the token has the header "${refused}", which is not allowed: get a token without it`
        )
      }
      return await this.#verify(token)
    } catch (error) {
      // A malformed token throws a TypeError before anything is verified.
      if (error instanceof jose.JOSEError || error instanceof TypeError) {
        throw new errors.FST_SSE_UNAUTHORIZED(explain(error, this.#key), { cause: error })
      }
      throw error
    }
  }

  /** While a secret is being rotated, a token may be signed with either of the two. */
  async #verify (token: string): Promise<JWTPayload> {
    const { key, previous } = this.#key
    try {
      return (await jwtVerify(token, key, this.#checks)).payload
    } catch (error) {
      if (previous === undefined || !(error instanceof jose.JWSSignatureVerificationFailed)) throw error
      return (await jwtVerify(token, previous, this.#checks)).payload
    }
  }

  #toGrant (payload: JWTPayload): GrantInit {
    const { claim, clockToleranceMs } = this.#options
    const aheadMs = clockToleranceMs + ISSUED_AHEAD_MS
    const { sub, exp, iat } = checkClaims(payload, aheadMs)
    return {
      subject: sub,
      ...this.#withinAudience(readTopicRights(payload, claim), payload.aud),
      expiresAtMs: exp * 1_000 + clockToleranceMs,
      // The earliest time that the clocks allow: a clock that is ahead must not protect a token from being revoked.
      issuedAtMs: iat === undefined ? undefined : Math.max(0, iat * 1_000 - aheadMs)
    }
  }

  /** If each right has an audience of its own, a token for one audience has none of the rights of the other. */
  #withinAudience (rights: TopicRights, aud: JWTPayload['aud']): TopicRights {
    const { audience } = this.#options
    if (audience === undefined || typeof audience === 'string') return rights
    const named = [aud].flat()
    return {
      subscribe: named.includes(audience.subscribe) ? rights.subscribe : [],
      publish: named.includes(audience.publish) ? rights.publish : [],
      revoke: named.includes(audience.publish) && rights.revoke
    }
  }
}

/** The registered claims of a grant. `aheadMs` is how far the issuer's clock may be ahead. */
function checkClaims (
  { sub, exp, iat }: JWTPayload,
  aheadMs: number
): { sub: string, exp: number, iat: number | undefined } {
  if (!isSubject(sub)) {
    throw new errors.FST_SSE_UNAUTHORIZED(
      'the claim "sub" must have 1 to 256 characters, none of them a control character: get another token'
    )
  }
  if (!isTime(exp)) {
    throw new errors.FST_SSE_UNAUTHORIZED('the claim "exp" must be a time in Unix seconds: get another token')
  }
  if (iat !== undefined && !(isTime(iat) && iat * 1_000 <= Date.now() + aheadMs)) {
    throw new errors.FST_SSE_UNAUTHORIZED(
      'the claim "iat" must be a time in Unix seconds that has passed: get another token, and compare the clocks'
    )
  }
  return { sub, exp, iat }
}

const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= MAX_TIME_S

/** The message for a rejected token, without any of its content. */
function explain (error: Error, { algorithms }: SigningKey): string {
  if (error instanceof jose.JWTExpired) return 'the token has expired: get a new one'
  if (error instanceof jose.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return `the token has no claim "${error.claim}", which is required: get another one`
    if (error.claim === 'nbf') return 'the token is not valid yet: try again later'
    return `the claim "${error.claim}" of the token is not the one expected here: get a token for this service`
  }
  if (error instanceof jose.JOSEAlgNotAllowed) {
    return `the token must be signed with ${algorithms.join(' or ')}: get another one`
  }
  if (error instanceof jose.JWKSNoMatchingKey) {
    return 'the token is signed with a key that is not known here: get a new one'
  }
  if (error instanceof jose.JWKSMultipleMatchingKeys) {
    return 'the token does not say which key signed it (header "kid"): get another one'
  }
  if (error instanceof jose.JWSSignatureVerificationFailed) return 'the signature of the token is wrong: get a new one'
  return 'the token is not a signed JSON Web Token: get another one'
}
