import type { Redis } from 'ioredis'

/**
 * Waits for the replicas of one connection's server. WAIT blocks all later commands and counts everything written
 * before it, so there is one at a time, and writes made meanwhile share the next one.
 */
export class ReplicaWait {
  readonly #connection: Redis
  #running: Promise<number> | undefined
  #next: Promise<number> | undefined

  constructor (connection: Redis) {
    this.#connection = connection
  }

  /** The number of replicas that have everything written so far, as soon as it is `replicas` or the time is over. */
  wait (replicas: number, timeoutMs: number): Promise<number> {
    this.#next ??= this.#takeTurn(replicas, timeoutMs)
    return this.#next
  }

  async #takeTurn (replicas: number, timeoutMs: number): Promise<number> {
    await Promise.allSettled([this.#running])
    this.#running = this.#next
    this.#next = undefined
    return this.#connection.wait(replicas, timeoutMs)
  }
}
