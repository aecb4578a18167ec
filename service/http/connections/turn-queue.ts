/** How long tasks run before the event loop does other work, in ms. */
const TURN_MS = 5

/**
 * Runs tasks in the order in which they were added, a few milliseconds at a time. With `Turns`, a new task may run
 * before those that wait; the requests of a connection must keep their order.
 */
export class TurnQueue {
  readonly #tasks: (() => void)[] = []

  add (task: () => void): void {
    if (this.#tasks.push(task) === 1) this.#run()
  }

  get length (): number { return this.#tasks.length }

  #run (): void {
    setImmediate(() => {
      const endsAt = performance.now() + TURN_MS
      let done = 0
      while (done < this.#tasks.length && performance.now() < endsAt) this.#tasks[done++]!()
      // In every turn: under a constant load the queue is never empty, and what has run must not stay in memory.
      this.#tasks.splice(0, done)
      if (this.#tasks.length > 0) this.#run()
    })
  }
}
