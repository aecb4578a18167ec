/** Something with cached bytes that can be dropped. */
export interface Tailed {
  /** Drops everything that is not needed; returns the remaining bytes. */
  shrink: () => number
}

/**
 * Limits the memory of all tails of this process together: those that have gone longest without a new batch are dropped
 * first.
 */
export class TailBudget {
  readonly #maxBytes: number
  /** Ordered by the last change. */
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
      const kept = oldest.shrink()
      this.#used -= this.#bytes.get(oldest)! - kept
      this.#bytes.set(oldest, kept)
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
