const TURN_MS = 5

/**
 * Turns of tasks that always have something to do: all of them together work for a few milliseconds, then the event
 * loop runs other work. With a limit for each task, a hundred of them would take a hundred times as long.
 *
 * A task calls `mustPause()` often and, when it returns true, waits for `next()`.
 */
export class Turns {
  readonly #waiting: (() => void)[] = []
  #isBegun = false
  #endsAt = 0

  /** Returns true if the tasks have worked long enough. The first call after other work begins a turn. */
  mustPause (): boolean {
    if (!this.#isBegun) this.#begin()
    return performance.now() >= this.#endsAt
  }

  /** Settles when it is the caller's turn, in the order of the calls. */
  next (): Promise<void> {
    if (!this.#isBegun) this.#begin()
    return new Promise(resolve => { this.#waiting.push(resolve) })
  }

  #begin (): void {
    this.#isBegun = true
    this.#endsAt = performance.now() + TURN_MS
    setImmediate(() => { this.#end() })
  }

  /** One task at a time: whether it uses the whole turn is known only when the event loop has run. */
  #end (): void {
    this.#isBegun = false
    const resume = this.#waiting.shift()
    if (resume === undefined) return
    this.#begin()
    resume()
  }
}
