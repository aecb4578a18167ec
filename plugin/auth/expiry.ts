import { IN_BAND, inBandData } from '../common/in-band.ts'
import type { InBandData } from '../common/in-band.ts'
import type { SseStream } from '../reply/stream.ts'

/**
 * How often a time that is far away is looked at again, in ms: after a clock was set forward, the end comes this late.
 */
const LOOK_MS = 30_000

/**
 * Ends a stream when its grant ends: `stream.expiring` with the remaining seconds, `warningMs` before (0: never;
 * immediately if less time remains), then `stream.expired` and the end with reason `expired`. Returns a function that
 * cancels it, even when it is over.
 */
export function startExpiry (stream: SseStream, expiresAtMs: number, warningMs: number): () => void {
  const stopWarning = warningMs === 0 ? () => {} : at(expiresAtMs - warningMs, () => warn(stream, expiresAtMs))
  const stopEnd = at(expiresAtMs, () => stream.close('expired', eventOf(IN_BAND.expired, {})))
  return () => {
    stopWarning()
    stopEnd()
  }
}

/** Waits for room: a slow client must not lose it, nor be cut for it. */
function warn (stream: SseStream, expiresAtMs: number): void {
  const expiresIn = Math.ceil((expiresAtMs - Date.now()) / 1_000)
  if (expiresIn > 0) void stream.send(eventOf(IN_BAND.expiring, { expiresIn }))
}

/** With bytes as data, so that the application's serializer is not used. */
function eventOf<K extends keyof InBandData> (event: K, data: InBandData[K]): { event: K, data: Buffer } {
  return { event, data: Buffer.from(inBandData(event, data)) }
}

/**
 * Calls back at a time in Unix ms, at once when it has passed. The first of two clocks counts: the wall clock, as the
 * time is one of it, and the monotonic clock, so that a clock that is set back prolongs no grant. A timer may be early.
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
