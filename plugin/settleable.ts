/** A promise that never rejects, with the function that settles it. */
export interface Settleable<T> { promise: Promise<T>, settle: (value: T) => void }

export function settleable<T = void> (): Settleable<T> {
  let settle!: (value: T) => void
  const promise = new Promise<T>(resolve => { settle = resolve })
  return { promise, settle }
}
