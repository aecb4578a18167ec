import type { FastifyBaseLogger } from 'fastify'
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors as jose, jwksCache } from 'jose'
import type { CryptoKey, ExportedJWKSCache, FetchImplementation, FlattenedJWSInput, JWSHeaderParameters } from 'jose'
import { errors } from '../../reply/errors.ts'

/** Older keys are fetched again before they are used: a withdrawn key is rejected after this long. */
const REFRESH_MS = 600_000

/**
 * While the issuer is unavailable keys are used until they are this old: an hour's outage signs nobody out, and an
 * attacker who blocks the issuer keeps a withdrawn key valid for no longer.
 */
const MAX_AGE_MS = 3_600_000

/** For an unknown key the keys are fetched again only when they are this old, so that tokens do not become fetches. */
const COOLDOWN_MS = 30_000

/** After a failed fetch no other is tried for this long, so that requests do not become fetches. */
const PAUSE_MS = 1_000

/** Errors that mean the token is wrong; any other error is a problem of the key set. */
const TOKENS_FAULT = [jose.JWKSNoMatchingKey, jose.JWKSMultipleMatchingKeys]

/**
 * The public keys of an issuer, fetched when they are needed. Only who needs a fetch ever waits for one, or for the
 * pause after one that failed: a token of a key that is known is verified whatever others send.
 *
 * ```
 *   age of the keys  0 ────────── 30 s ─────────────────── 10 min ───────────────────────── 1 h
 *   known key        used                                  fetched first; used if that fails  503 if that fails
 *   unknown key      401          fetched first; 503 if that fails
 * ```
 */
export class RemoteKeySet {
  readonly #keys: ReturnType<typeof createRemoteJWKSet>
  readonly #log: FastifyBaseLogger
  /** Written by jose: the keys, and when they came. */
  readonly #fetched: Partial<ExportedJWKSCache> = {}
  #fetchedAt = instant()
  #failure: { error: unknown, failedAt: Instant } | undefined

  constructor (url: string | URL, log: FastifyBaseLogger) {
    this.#log = log
    this.#keys = createRemoteJWKSet(new URL(url), {
      cacheMaxAge: MAX_AGE_MS,
      // It would go by the wall clock.
      cooldownDuration: Infinity,
      [jwksCache]: this.#fetched as ExportedJWKSCache,
      [customFetch]: (url, options) => this.#fetchUnlessPaused(url, options)
    })
  }

  /**
   * The key of a token. Throws jose's error if there is none, and 503 `FST_SSE_KEYS_UNAVAILABLE` if that cannot be
   * determined now.
   */
  async find (header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    try {
      await this.#refresh()
      return await this.#lookUp(header, token)
    } catch (error) {
      if (TOKENS_FAULT.some(Fault => error instanceof Fault)) throw error
      throw new errors.FST_SSE_KEYS_UNAVAILABLE({ cause: error })
    }
  }

  async #lookUp (header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    try {
      return await this.#keys(header, token)
    } catch (error) {
      if (!(error instanceof jose.JWKSNoMatchingKey) || since(this.#fetchedAt) < COOLDOWN_MS) throw error
      await this.#keys.reload()
      return this.#keys(header, token)
    }
  }

  /** Where the last fetch failed, the next is not waited for: it might take as long as a fetch may. */
  async #refresh (): Promise<void> {
    if (this.#fetched.uat === undefined) return
    const ageMs = since(this.#fetchedAt)
    if (ageMs < REFRESH_MS) return
    if (ageMs >= MAX_AGE_MS) return this.#keys.reload()
    // The fetch itself reports its failure.
    const refreshed = this.#keys.reload().catch(() => {})
    if (this.#failure === undefined) await refreshed
  }

  /** jose fetches at most once at a time. */
  async #fetchUnlessPaused (...[url, options]: Parameters<FetchImplementation>): Promise<Response> {
    if (this.#failure && since(this.#failure.failedAt) < PAUSE_MS) throw this.#failure.error
    try {
      const response = await fetchKeySet(url, options)
      this.#failure = undefined
      this.#fetchedAt = instant()
      return response
    } catch (error) {
      this.#failure = { error, failedAt: instant() }
      const { uat } = this.#fetched
      this.#log.warn(
        { err: error, fetchedAt: uat === undefined ? undefined : new Date(uat).toISOString() },
        'the key set could not be fetched; it is tried again, ' +
          'and keys that are known are used until they are an hour old'
      )
      throw error
    }
  }
}

/**
 * A point in time by both clocks: setting one back must not prolong the life of a key, and the other one stops while a
 * machine sleeps.
 */
interface Instant { wallMs: number, monotonicMs: number }

const instant = (): Instant => ({ wallMs: Date.now(), monotonicMs: performance.now() })
const since = ({ wallMs, monotonicMs }: Instant): number =>
  Math.max(Date.now() - wallMs, performance.now() - monotonicMs)

/** Rejects unless the response is a key set. */
async function fetchKeySet (url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options)
  if (response.status !== 200) throw new Error(`the key set was answered with status ${response.status}`)
  const keySet: unknown = await response.json()
  createLocalJWKSet(keySet as Parameters<typeof createLocalJWKSet>[0])
  return Response.json(keySet)
}
