/** A promise that never rejects, with the function that settles it. */
export interface Deferred<T> { promise: Promise<T>, settle: (value: T) => void }

export function deferred<T = void> (): Deferred<T> {
  let settle!: (value: T) => void
  const promise = new Promise<T>(resolve => { settle = resolve })
  return { promise, settle }
}
