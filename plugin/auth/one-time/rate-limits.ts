import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'

/** What is counted, and per what; both appear in the message. */
interface RateLimitInit { what: string, per: 'subject' | 'address', max: number, windowMs: number }

interface LimiterOptions {
  max: number
  timeWindow: number
  allowList: string[]
  keyGenerator: (request: FastifyRequest) => string
}

/**
 * The part of an app with `@fastify/rate-limit` that is used here. Not `Pick<FastifyInstance, 'createRateLimit'>`: the
 * published types would then need the types of that package.
 */
export interface RateCounter {
  createRateLimit: (options: LimiterOptions) => (request: FastifyRequest) => Promise<unknown>
}

/**
 * How often something may happen, counted by this process alone. Rejects with 429 `FST_SSE_TOO_MANY` and `Retry-After`.
 */
export class RateLimit {
  readonly #init: RateLimitInit
  readonly #limiter: Limiter
  /** @fastify/rate-limit reads the key from the request. */
  readonly #keys = new WeakMap<FastifyRequest, string>()

  constructor (counter: RateCounter, init: RateLimitInit) {
    this.#init = init
    // There is no allow list, so the result always contains a count.
    this.#limiter = counter.createRateLimit({
      max: init.max,
      timeWindow: init.windowMs,
      allowList: [],
      keyGenerator: request => this.#keys.get(request)!
    }) as Limiter
  }

  /** Counts one event. Rejects if there were already `max` within the window. */
  async count (request: FastifyRequest, key: string): Promise<void> {
    const { isExceeded, ttlInSeconds } = await this.#ask(request, key, true)
    if (isExceeded) this.#refuse(ttlInSeconds)
  }

  /** Checks without counting. Rejects if there were `max` within the window. */
  async check (request: FastifyRequest, key: string): Promise<void> {
    const { remaining, ttlInSeconds } = await this.#ask(request, key, false)
    if (remaining === 0) this.#refuse(ttlInSeconds)
  }

  #ask (request: FastifyRequest, key: string, increment: boolean): Promise<Counted> {
    this.#keys.set(request, key)
    return this.#limiter(request, { increment })
  }

  #refuse (ttlInSeconds: number): never {
    const { what, per, max, windowMs } = this.#init
    throw Object.assign(new errors.FST_SSE_TOO_MANY(what, per, max, windowMs / 1000), {
      headers: { 'retry-after': ttlInSeconds }
    })
  }
}

interface Counted { remaining: number, ttlInSeconds: number, isExceeded: boolean }
type Limiter = (request: FastifyRequest, options: { increment: boolean }) => Promise<Counted>
