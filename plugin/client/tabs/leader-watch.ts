/** How often a tab checks the leader. A hidden page may run timers only once a minute. */
const CHECK_MS = 10_000

/**
 * Detects a leader that no longer answers: a browser may suspend its page without releasing its lock. The second check
 * in a silence asks the leader to answer; if it has not done so by the third, it is lost. A page that was suspended
 * itself therefore asks before it judges.
 */
export class LeaderWatch {
  readonly #timer: ReturnType<typeof setInterval> | undefined
  #checks = 0

  /** `stallTimeoutMs` as in the options of `subscribe()`. */
  constructor (ask: () => void, lost: () => void, stallTimeoutMs?: number) {
    if (stallTimeoutMs === 0) return
    this.#timer = setInterval(() => {
      this.#checks++
      if (this.#checks === 2) ask()
      if (this.#checks === 3) lost()
    }, stallTimeoutMs === undefined ? CHECK_MS : stallTimeoutMs / 2)
  }

  /** The leader has sent something, or this tab is the leader. */
  heard (): void { this.#checks = 0 }

  stop (): void { clearInterval(this.#timer) }
}
