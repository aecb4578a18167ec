import { ByteBudget } from '../http/bodies/byte-budget.ts'

interface Share { budget: ByteBudget, bodies: number }

/**
 * The bytes of live bodies. A live body may keep its bytes for as long as it lasts: all of them together take at most
 * half of the bytes of bodies, and those of one publisher at most half of that.
 */
export class LiveBudgets {
  readonly #maxBytes: number
  readonly #all: ByteBudget
  readonly #shares = new Map<string, Share>()

  constructor (maxBodiesBytes: number, bodies: ByteBudget) {
    this.#maxBytes = maxBodiesBytes / 4
    this.#all = new ByteBudget(maxBodiesBytes / 2, bodies)
  }

  /** The budget for a body of a publisher; call `close` once when its bytes were given back. */
  open (publisher: string): { budget: ByteBudget, close: () => void } {
    const share = this.#shares.get(publisher) ?? { budget: new ByteBudget(this.#maxBytes, this.#all), bodies: 0 }
    this.#shares.set(publisher, share)
    share.bodies++
    const close = (): void => { if (--share.bodies === 0) this.#shares.delete(publisher) }
    return { budget: share.budget, close }
  }
}
