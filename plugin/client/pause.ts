/** A wait that can be ended early; only one at a time. */
export class Pause {
  #proceed: (() => void) | undefined
  #isOver = false

  /** The next wait is a new one. */
  reset (): void { this.#isOver = false }

  /** Settles after `ms`, or when `end()` is called, even before; without `ms`, only the latter. */
  async wait (ms?: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    if (!this.#isOver) {
      await new Promise<void>(resolve => {
        this.#proceed = resolve
        if (ms !== undefined) timer = setTimeout(resolve, ms)
      })
    }
    clearTimeout(timer)
    this.#isOver = false
  }

  /** Ends the wait; if there is none, the next one until `reset()`. */
  end (): void {
    this.#isOver = true
    this.#proceed?.()
  }
}
