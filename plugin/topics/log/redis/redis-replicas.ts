import type { Redis } from 'ioredis'

/**
 * Waits for the replicas of one connection's server. WAIT holds up every command behind it, and counts all that was
 * written before it: so there is one at a time, and the writes that come meanwhile share the next.
 */
export class ReplicaWait {
  readonly #connection: Redis
  #running: Promise<number> | undefined
  #next: Promise<number> | undefined

  constructor (connection: Redis) {
    this.#connection = connection
  }

  /** How many replicas have everything written so far, once `replicas` have it or the time is over. */
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
