/** A wait that can be ended early; only one at a time. */
export class Pause {
  #proceed: (() => void) | undefined

  /** Settles after `ms`, or when `end()` is called; without `ms`, only the latter. */
  async wait (ms?: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>(resolve => {
      this.#proceed = resolve
      if (ms !== undefined) timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
    this.#proceed = undefined
  }

  /** Ends the wait; does nothing if there is none. */
  end (): void { this.#proceed?.() }
}
