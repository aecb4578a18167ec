import type { FastifyBaseLogger } from 'fastify'
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors as jose, jwksCache } from 'jose'
import type { CryptoKey, ExportedJWKSCache, FetchImplementation, FlattenedJWSInput, JWSHeaderParameters } from 'jose'
import { errors } from '../errors.ts'

/** Keys older than this are fetched again before use, so a withdrawn key is rejected after this long. */
const REFRESH_MS = 600_000

/**
 * While the issuer is unavailable, keys are used until they are this old: an outage of an hour signs nobody out, and an
 * attacker who blocks the issuer keeps a withdrawn key valid for no longer than that.
 */
const MAX_AGE_MS = 3_600_000

/**
 * An unknown key triggers another fetch only if the known keys are this old, so that requests with invalid tokens do
 * not cause a fetch each.
 */
const COOLDOWN_MS = 30_000

/** After a failed fetch, no other is attempted for this long, so that requests do not cause a fetch each. */
const PAUSE_MS = 1_000

/** Maximum bytes of a key set, which is enough for some hundred keys: an issuer must not be able to fill the memory. */
const MAX_BYTES = 1024 * 1024

/** Errors that mean the token is wrong; any other error is a problem of the key set. */
const TOKENS_FAULT = [jose.JWKSNoMatchingKey, jose.JWKSMultipleMatchingKeys]

/**
 * The public keys of an issuer, fetched on demand. Only requests that need a fetch wait for one, or for the pause after
 * a failed one: a token with a known key is verified whatever other clients send.
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
  /** Written by jose: the keys, and the time at which they were fetched. */
  readonly #fetched: Partial<ExportedJWKSCache> = {}
  #fetchedAt = instant()
  #failure: { error: unknown, failedAt: Instant } | undefined

  constructor (url: string | URL, log: FastifyBaseLogger) {
    this.#log = log
    this.#keys = createRemoteJWKSet(new URL(url), {
      cacheMaxAge: MAX_AGE_MS,
      // jose would measure it by the wall clock.
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

  /**
   * If the last fetch failed, the next one runs in the background: it could take as long as the time limit of a fetch.
   */
  async #refresh (): Promise<void> {
    if (this.#fetched.uat === undefined) return
    const ageMs = since(this.#fetchedAt)
    if (ageMs < REFRESH_MS) return
    if (ageMs >= MAX_AGE_MS) return this.#keys.reload()
    // The fetch reports its own failure.
    const refreshed = this.#keys.reload().catch(() => {})
    if (this.#failure === undefined) await refreshed
  }

  /** jose runs at most one fetch at a time. */
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
        'the key set could not be fetched; retrying. ' +
          'Cached keys are used until they are an hour old'
      )
      throw error
    }
  }
}

/**
 * A point in time by both clocks: setting the wall clock back must not prolong the life of a key, and the monotonic
 * clock stops while a machine sleeps.
 */
interface Instant { wallMs: number, monotonicMs: number }

const instant = (): Instant => ({ wallMs: Date.now(), monotonicMs: performance.now() })
const since = ({ wallMs, monotonicMs }: Instant): number =>
  Math.max(Date.now() - wallMs, performance.now() - monotonicMs)

/** Rejects if the response is not a key set. */
async function fetchKeySet (url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options)
  if (response.status !== 200) throw new Error(`the key set was answered with status ${response.status}`)
  const keySet: unknown = JSON.parse(await textOf(response))
  createLocalJWKSet(keySet as Parameters<typeof createLocalJWKSet>[0])
  return Response.json(keySet)
}

async function textOf ({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`the key set has more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
