interface RateWindow { count: number, readonly sinceMs: number }

type Counted = (error: Error | null, result: { current: number, ttl: number }) => void

/** Maximum number of keys; beyond it, the least recently counted key is forgotten. */
const MAX_WINDOWS = 10_000

/**
 * A store for `@fastify/rate-limit` that counts by the monotonic clock. With the library's own store, if the clock is
 * set back by an hour, a client that has reached the limit is rejected for an hour.
 */
export class RateWindows {
  /** The least recently counted key is first. */
  readonly #windows = new Map<string, RateWindow>()

  /** Counts one event, and calls back with the count and the milliseconds left in the window. */
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

  /** Each limit has separate counts. */
  child (): RateWindows {
    return new RateWindows()
  }

  /** The current window of a key, or a new one. */
  #window (key: string, windowMs: number): RateWindow {
    const nowMs = performance.now()
    const known = this.#windows.get(key)
    return known !== undefined && nowMs - known.sinceMs < windowMs ? known : { count: 0, sinceMs: nowMs }
  }
}

const leftMs = (sinceMs: number, windowMs: number): number => Math.ceil(sinceMs + windowMs - performance.now())
