/** Counts the turns of the event loop, those in which the number is requested. */
export class EventLoopTurns {
  #count = 0
  #isCounted = false

  /** A number that differs in each turn in which it is requested. */
  current (): number {
    if (!this.#isCounted) {
      this.#isCounted = true
      setImmediate(this.#end)
    }
    return this.#count
  }

  readonly #end = (): void => {
    this.#isCounted = false
    this.#count++
  }
}
