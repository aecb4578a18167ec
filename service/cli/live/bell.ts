/** Lets several parts of a command wait until something has changed. */
export class Bell {
  readonly #waiting = new Set<() => void>()

  /** Reports a change: all waiting parts check their conditions again. */
  ring (): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Resolves to true when the condition holds, or to false after `ms`. */
  async until (isMet: () => boolean, ms = Infinity): Promise<boolean> {
    const end = performance.now() + ms
    while (!isMet()) {
      const leftMs = end - performance.now()
      if (leftMs <= 0) return false
      await this.#next(leftMs)
    }
    return true
  }

  async #next (ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    let wake = (): void => {}
    await new Promise<void>(resolve => {
      wake = resolve
      this.#waiting.add(wake)
      if (ms < Infinity) timer = setTimeout(resolve, Math.ceil(ms))
    })
    clearTimeout(timer)
    this.#waiting.delete(wake)
  }
}
