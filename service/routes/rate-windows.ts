interface RateWindow { count: number, readonly sinceMs: number }

/** Publishers counted at the same time; of more, the one that published least recently is forgotten. */
const MAX_WINDOWS = 10_000

/**
 * A store for `@fastify/rate-limit` that counts by the monotonic clock. With the store of the library, a clock that is
 * set back by an hour rejects whoever had reached the limit for an hour.
 */
export class RateWindows {
  /** Least recently used first. */
  readonly #windows = new Map<string, RateWindow>()

  /** Counts one more, and calls back with the count and the ms that are left of the window. */
  incr (
    key: string,
    callback: (error: Error | null, result: { current: number, ttl: number }) => void,
    windowMs: number
  ): void {
    const nowMs = performance.now()
    const known = this.#windows.get(key)
    const { count, sinceMs } =
      known !== undefined && nowMs - known.sinceMs < windowMs ? known : { count: 0, sinceMs: nowMs }
    this.#windows.delete(key)
    this.#windows.set(key, { count: count + 1, sinceMs })
    if (this.#windows.size > MAX_WINDOWS) this.#windows.delete(this.#windows.keys().next().value!)
    callback(null, { current: count + 1, ttl: Math.ceil(sinceMs + windowMs - nowMs) })
  }

  /** All routes count together. */
  child (): this {
    return this
  }
}
