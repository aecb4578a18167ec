interface RateWindow { count: number, readonly sinceMs: number }

type Counted = (error: Error | null, result: { current: number, ttl: number }) => void

/** Keys counted at the same time; of more, the one that was counted least recently is forgotten. */
const MAX_WINDOWS = 10_000

/**
 * A store for `@fastify/rate-limit` that counts by the monotonic clock. With the store of the library, a clock that is
 * set back by an hour rejects whoever had reached the limit for an hour.
 */
export class RateWindows {
  /** Least recently counted first. */
  readonly #windows = new Map<string, RateWindow>()

  /** Counts one more, and calls back with the count and the ms that are left of the window. */
  incr (key: string, callback: Counted, windowMs: number): void {
    const { count, sinceMs } = this.#window(key, windowMs)
    this.#windows.delete(key)
    this.#windows.set(key, { count: count + 1, sinceMs })
    if (this.#windows.size > MAX_WINDOWS) this.#windows.delete(this.#windows.keys().next().value!)
    callback(null, { current: count + 1, ttl: leftMs(sinceMs, windowMs) })
  }

  /** The same without counting. */
  read (key: string, callback: Counted, windowMs: number): void {
    const { count, sinceMs } = this.#window(key, windowMs)
    callback(null, { current: count, ttl: leftMs(sinceMs, windowMs) })
  }

  /** Each limit counts by itself. */
  child (): RateWindows {
    return new RateWindows()
  }

  /** The window that is open for a key, or a new one. */
  #window (key: string, windowMs: number): RateWindow {
    const nowMs = performance.now()
    const known = this.#windows.get(key)
    return known !== undefined && nowMs - known.sinceMs < windowMs ? known : { count: 0, sinceMs: nowMs }
  }
}

const leftMs = (sinceMs: number, windowMs: number): number => Math.ceil(sinceMs + windowMs - performance.now())
