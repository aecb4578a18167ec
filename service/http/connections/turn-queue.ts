/** How long tasks run before the event loop does other work, in ms. */
const TURN_MS = 5

/** Runs tasks in the order in which they were added, a few milliseconds at a time. */
export class TurnQueue {
  #tasks: (() => void)[] = []
  /** The position of the next task: to shift a long array costs time. */
  #next = 0

  add (task: () => void): void {
    if (this.#tasks.push(task) === 1) this.#run()
  }

  #run (): void {
    setImmediate(() => {
      const endsAt = performance.now() + TURN_MS
      while (this.#next < this.#tasks.length && performance.now() < endsAt) this.#tasks[this.#next++]!()
      if (this.#next < this.#tasks.length) return this.#run()
      this.#tasks = []
      this.#next = 0
    })
  }
}
