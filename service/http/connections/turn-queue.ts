/** How long tasks run before the event loop does other work, in ms. */
const TURN_MS = 5

/**
 * Runs the tasks of connections a few milliseconds at a time: those of a connection in the order in which they were
 * added, and one of each connection in turn, so that a connection with few tasks does not wait for one with thousands.
 * With `Turns`, a new task may run before those that wait.
 */
export class TurnQueue {
  /** The connections with waiting tasks; the first one has the next turn. */
  readonly #lines = new Map<object, (() => void)[]>()
  #isScheduled = false

  add (connection: object, task: () => void): void {
    const line = this.#lines.get(connection)
    if (line) line.push(task)
    else this.#lines.set(connection, [task])
    this.#schedule()
  }

  /** True if tasks of this connection are waiting. */
  has (connection: object): boolean { return this.#lines.has(connection) }

  get length (): number {
    return [...this.#lines.values()].reduce((sum, { length }) => sum + length, 0)
  }

  #schedule (): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#run())
  }

  #run (): void {
    this.#isScheduled = false
    const endsAt = performance.now() + TURN_MS
    while (this.#lines.size > 0 && performance.now() < endsAt) this.#takeNext()()
    if (this.#lines.size > 0) this.#schedule()
  }

  /** Its connection has its next turn after all others. */
  #takeNext (): () => void {
    const [connection, line] = this.#lines.entries().next().value!
    const task = line.shift()!
    this.#lines.delete(connection)
    if (line.length > 0) this.#lines.set(connection, line)
    return task
  }
}
