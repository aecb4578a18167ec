import { IN_BAND, inBandData } from '../../common/in-band.ts'
import type { InBandData } from '../../common/in-band.ts'
import type { SseStream } from '../../reply/stream/sse-stream.ts'

/**
 * How often an expiry in the far future is checked again, in ms: if the clock is set forward, the end comes at most
 * this late.
 */
const LOOK_MS = 30_000

/**
 * Ends a stream when its grant ends: sends `stream.expiring` with the remaining seconds `warningMs` before that (0:
 * never), then `stream.expired`, and closes with reason `expired`. Returns a function that cancels the timers; calling
 * it later does nothing.
 *
 * A stream that opens with less than twice `warningMs` left is warned halfway, never immediately: a client that renews
 * tokens of a minute at each warning would otherwise reconnect in a loop.
 */
export function startExpiry (stream: SseStream, expiresAtMs: number, warningMs: number): () => void {
  const beforeEndMs = Math.min(warningMs, (expiresAtMs - Date.now()) / 2)
  const stopWarning = warningMs === 0 ? () => {} : at(expiresAtMs - beforeEndMs, () => warn(stream, expiresAtMs))
  const stopEnd = at(expiresAtMs, () => {
    stream.close('expired', isTold(stream) ? eventOf(IN_BAND.expired, {}) : undefined)
  })
  return () => {
    stopWarning()
    stopEnd()
  }
}

/**
 * Sends the warning. Waits for room in the queue: a slow client must neither miss the warning nor be disconnected
 * because of it.
 */
export function warn (stream: SseStream, expiresAtMs: number): void {
  const expiresIn = Math.ceil((expiresAtMs - Date.now()) / 1_000)
  if (expiresIn > 0 && isTold(stream)) void stream.send(eventOf(IN_BAND.expiring, { expiresIn }))
}

/** False for a client of another protocol, which does not know the in-band events. */
function isTold (stream: SseStream): boolean {
  return stream.control !== 'none'
}

/** With bytes as data, so that the application's serializer is bypassed. */
function eventOf<K extends keyof InBandData> (event: K, data: InBandData[K]): { event: K, data: Buffer } {
  return { event, data: Buffer.from(inBandData(event, data)) }
}

/**
 * Calls back at a time in Unix ms, immediately if it has passed. Whichever of two clocks reaches it first counts: the
 * wall clock, in which the time is given, and the monotonic clock, so that setting a clock back never prolongs a grant.
 * Timers may fire early, so the time is checked again.
 */
function at (timeMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const endsAt = performance.now() + timeMs - Date.now()
  const look = (): void => {
    const leftMs = Math.min(timeMs - Date.now(), endsAt - performance.now())
    if (leftMs <= 0) return callback()
    timer = setTimeout(look, Math.min(leftMs, LOOK_MS)).unref()
  }
  look()
  return () => clearTimeout(timer)
}
