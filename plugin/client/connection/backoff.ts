/** The time between two connections. */
export interface BackoffOptions {
  /** The time in ms if the server sent no `retry:`. Default 3,000, as in browsers. */
  readonly initialMs: number
  /** The longest time between two attempts in ms. Default 30,000. The server may ask for a longer one. */
  readonly maxMs: number
}

const DEFAULT_INITIAL_MS = 3_000
const DEFAULT_MAX_MS = 30_000
/** The longest time that the server may ask for: one hour, which is also the server's own limit. */
const MAX_RETRY_MS = 3_600_000

/** The shortest: a server that asks for less and ends each stream at once would be requested in a tight loop. */
const MIN_RETRY_MS = 100

/** A timer with a longer delay fires immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * How long to wait before the next connection. After a stream that was open: the server's `retry:`, plus up to a
 * quarter. After failures: between half and all of a bound that doubles with each of them, so that clients do not all
 * return at once when a server is back.
 */
export class Backoff {
  readonly #maxMs: number
  readonly #random: () => number
  #retryMs: number
  #failures = 0

  constructor (options: Partial<BackoffOptions> = {}, random: () => number = Math.random) {
    const { initialMs = DEFAULT_INITIAL_MS, maxMs = DEFAULT_MAX_MS } = options
    this.#maxMs = maxMs
    this.#random = random
    this.#retryMs = initialMs
  }

  /** The `retry:` of the server, in milliseconds; at least 100. */
  askedFor (ms: number): void {
    this.#retryMs = Math.min(Math.max(ms, MIN_RETRY_MS), MAX_RETRY_MS)
  }

  /** A stream was open: the count of failures starts again. */
  reset (): void {
    this.#failures = 0
  }

  /** The delay after a stream has ended. */
  afterStream (): number {
    return Math.min(MAX_TIMER_MS, this.#retryMs * (1 + this.#random() / 4))
  }

  /** The delay after a failure. `atLeastMs` is the `Retry-After` of the response. */
  afterFailure (atLeastMs = 0): number {
    const bound = Math.min(this.#maxMs, Math.max(this.#retryMs, 100) * 2 ** this.#failures++)
    return Math.max(bound * (1 + this.#random()) / 2, Math.min(atLeastMs, MAX_RETRY_MS) * (1 + this.#random() / 4))
  }
}
