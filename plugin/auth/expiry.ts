import { MAX_TIMER_MS } from '../common/timers.ts'
import type { SseStream } from '../reply/stream.ts'

/**
 * Ends a stream when its grant does: `stream.expiring` with the seconds that are left, `warningMs` before (0: never,
 * and at once where less is left), then `stream.expired` and the end with reason `expired`. Returns what calls it off,
 * also when all is over.
 */
export function startExpiry (stream: SseStream, expiresAtMs: number, warningMs: number): () => void {
  const stopWarning = warningMs === 0 ? () => {} : at(expiresAtMs - warningMs, () => warn(stream, expiresAtMs))
  const stopEnd = at(expiresAtMs, () => stream.close('expired', { event: 'stream.expired', data: Buffer.from('{}') }))
  return () => {
    stopWarning()
    stopEnd()
  }
}

/** Bytes, so that the application's serializer has no say in them. */
function warn (stream: SseStream, expiresAtMs: number): void {
  const expiresIn = Math.ceil((expiresAtMs - Date.now()) / 1_000)
  if (expiresIn > 0) stream.push({ event: 'stream.expiring', data: Buffer.from(JSON.stringify({ expiresIn })) })
}

/**
 * Calls back at a time in Unix ms, at once when it has passed. A timer of Node's takes 24 days at most, and may be
 * early.
 */
function at (timeMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    const leftMs = timeMs - Date.now()
    if (leftMs <= 0) return callback()
    timer = setTimeout(look, Math.min(leftMs, MAX_TIMER_MS)).unref()
  }
  look()
  return () => clearTimeout(timer)
}
