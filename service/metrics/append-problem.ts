/** How long a failure is reported if no further append confirms or contradicts it, in ms. */
const REMEMBERED_MS = 60_000

/** Why events cannot be appended to a log that can be read, such as on a full disk. Only an append detects it. */
export class AppendProblem {
  readonly #now: () => number
  #last: { problem: string, at: number } | undefined

  constructor (now = () => performance.now()) {
    this.#now = now
  }

  succeed (): void { this.#last = undefined }

  /** Errors of the caller or of a single topic do not count. */
  fail ({ code, message }: Error & { code?: string }): void {
    if (code === 'TOPICS_LOG_UNAVAILABLE') this.#last = { problem: message, at: this.#now() }
  }

  /** The message of the last failure, until an append succeeds or none has failed for a minute. */
  get text (): string | undefined {
    return this.#last && this.#now() - this.#last.at < REMEMBERED_MS ? this.#last.problem : undefined
  }
}
