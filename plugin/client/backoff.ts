/** Settings of the time between two connections. */
export interface BackoffOptions {
  /** Where the server sent no `retry:`. Default 3,000 ms, as in browsers. */
  readonly initialMs: number
  /** The longest time between two tries, 30,000 ms by default. What the server asks for may be longer. */
  readonly maxMs: number
}

/** The server may ask for this long at most: an hour, as this library does on its side. */
const MAX_RETRY_MS = 3_600_000

/** A timer that is longer fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * How long to wait before the next connection. After a stream that was open: what the server asked for as `retry:`, and
 * up to a quarter more. After failures: between half and all of a bound that doubles with each of them, so that the
 * clients of a server that was away come back spread out.
 */
export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: () => number
  #retryMs: number
  #failures = 0

  constructor (options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options
    this.#random = random
    this.#retryMs = options.initialMs
  }

  /** The `retry:` of the server, in milliseconds. */
  askedFor (ms: number): void {
    this.#retryMs = Math.min(ms, MAX_RETRY_MS)
  }

  /** A stream was open: failures count from none again. */
  reset (): void {
    this.#failures = 0
  }

  /** After a stream that is over. */
  afterStream (): number {
    return Math.min(MAX_TIMER_MS, this.#retryMs * (1 + this.#random() / 4))
  }

  /** After a failure. `atLeastMs` is what the answer asked for as `Retry-After`. */
  afterFailure (atLeastMs = 0): number {
    const bound = Math.min(this.#options.maxMs, Math.max(this.#retryMs, 100) * 2 ** this.#failures++)
    return Math.max(bound * (1 + this.#random()) / 2, Math.min(atLeastMs, MAX_RETRY_MS) * (1 + this.#random() / 4))
  }
}
