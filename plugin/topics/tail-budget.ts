/** Something that keeps bytes it can do without. */
export interface Tailed {
  /** Lets go of all but what is still needed; returns how many bytes it keeps. */
  shrink: () => number
}

/** Bounds what all tails of this process take together: those that moved longest ago are let go first. */
export class TailBudget {
  readonly #maxBytes: number
  /** In the order in which they moved last. */
  readonly #bytes = new Map<Tailed, number>()
  #used = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes in all tails together. */
  get used (): number { return this.#used }

  /** A tail has moved and holds so many bytes now. */
  moved (tail: Tailed, bytes: number): void {
    this.forget(tail)
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
