/** Something with cached bytes that can be dropped. */
export interface Tailed {
  /** Drops all its bytes. */
  drop: () => void
}

/**
 * Limits the memory of all tails of this process together: those that have gone longest without a new batch are dropped
 * first.
 */
export class TailBudget {
  readonly #maxBytes: number
  /**
   * Ordered by the last change. Tails without bytes are not in it: they would be visited again and again while there
   * are too many bytes.
   */
  readonly #bytes = new Map<Tailed, number>()
  #used = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The total bytes of all tails. */
  get used (): number { return this.#used }

  /** A tail has changed and now holds this many bytes. */
  moved (tail: Tailed, bytes: number): void {
    this.forget(tail)
    if (bytes === 0) return
    this.#set(tail, bytes)
    for (const oldest of this.#bytes.keys()) {
      if (this.#used <= this.#maxBytes) return
      oldest.drop()
      this.forget(oldest)
    }
  }

  forget (tail: Tailed): void {
    this.#used -= this.#bytes.get(tail) ?? 0
    this.#bytes.delete(tail)
  }

  #set (tail: Tailed, bytes: number): void {
    this.#bytes.set(tail, bytes)
    this.#used += bytes
  }
}
