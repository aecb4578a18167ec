import { errors } from './errors.ts'

const FIRST_DELAY_MS = 50
const MAX_DELAY_MS = 2_000

/**
 * Calls a log until it is available again, with increasing pauses, so that an outage is not passed on to the client.
 * Resolves to the result, or to undefined once `isOver`, which is checked before each attempt. Rejects with any other
 * error. `onUnavailable` is called from the second failed attempt on, so that a single failure is not reported.
 */
export async function retryUntilAvailable<T> (
  ask: () => Promise<T>,
  isOver: () => boolean,
  onUnavailable: (error: unknown) => void
): Promise<T | undefined> {
  for (let delayMs = FIRST_DELAY_MS; !isOver(); delayMs = Math.min(MAX_DELAY_MS, delayMs * 2)) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof errors.TOPICS_LOG_UNAVAILABLE)) throw error
      if (delayMs > FIRST_DELAY_MS) onUnavailable(error)
    }
    await delay(delayMs)
  }
  return undefined
}

/** The shortest pause before another attempt. */
export function pause (): Promise<void> {
  return delay(FIRST_DELAY_MS)
}

function delay (ms: number): Promise<void> {
  return new Promise(resolve => { setTimeout(resolve, ms).unref() })
}
