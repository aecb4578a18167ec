/** Resolves to undefined when the signal aborts; never rejects. */
export function aborted (signal: AbortSignal): Promise<undefined> {
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}
