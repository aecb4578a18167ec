/**
 * The seed of a randomized test: from the environment variable, otherwise a new one. Print it, so that a failure can be
 * repeated.
 */
export function seedFrom (name: string): number {
  const given = process.env[name]
  return given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given)
}

/** Pseudo-random integers from 0 to below `limit` (mulberry32): the same seed produces the same sequence. */
export function randomFrom (seed: number): (limit: number) => number {
  let state = seed | 0
  return limit => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}
