/** Why the client itself aborted an attempt to connect. */
export type Interruption = 'again' | 'stalled' | 'asleep' | 'closed'

/** Resolves to undefined when the signal aborts; never rejects. */
export function aborted (signal: AbortSignal): Promise<undefined> {
  return new Promise(resolve => {
    if (signal.aborted) resolve(undefined)
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}

/** Wraps functions so that they do nothing once the signal has aborted. */
export function guardWith (signal: AbortSignal) {
  return <Args extends unknown[]>(act: (...args: Args) => void) => (...args: Args): void => {
    if (!signal.aborted) act(...args)
  }
}
