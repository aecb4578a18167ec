/** A seeded random number generator (mulberry32): the same seed produces the same schedule. */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** A number from 0 (inclusive) to 1 (exclusive). */
  next (): number {
    this.#state = (this.#state + 0x6D2B79F5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }

  /** An integer from `min` to `max`, inclusive. */
  integer (min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  pick<T> (things: readonly T[]): T {
    return things[this.integer(0, things.length - 1)]!
  }

  /** A subset with at least one member, in the original order. */
  some<T> (things: readonly T[]): T[] {
    const chosen = things.filter(() => this.chance(0.5))
    return chosen.length > 0 ? chosen : [this.pick(things)]
  }
}
