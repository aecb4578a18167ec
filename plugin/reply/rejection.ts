import type { FastifyReply } from 'fastify'
import { statusOf } from './error-report.ts'
import { asksForRetry } from './reply-state.ts'
import type { SseStream } from './stream/sse-stream.ts'
import { MAX_RETRY_MS } from './wire.ts'

/** Statuses of temporary errors, which EventSource would treat as permanent. */
const RETRY_STATUSES: ReadonlySet<number> = new Set([429, 503])

/**
 * `retry:` of a temporary rejection is drawn from 1 to 2 times this value, so that clients do not all return at once.
 */
const REJECTION_RETRY_MS = 2_000

/** A temporary error, which is sent as an empty stream with `retry:` instead of its status. */
export interface Rejection {
  statusCode: number
  /** When the client may return: after `Retry-After`, and not at the same time as others. At most an hour. */
  retryMs: number
}

/**
 * The rejection of a request by this error; undefined if the client receives the error itself, because it is permanent
 * or the client is no EventSource. The `Retry-After` of the reply or of `error.headers` counts, whichever is later.
 */
export function rejectionOf (reply: FastifyReply, error: unknown): Rejection | undefined {
  const statusCode = statusOf(error, reply.statusCode)
  if (!RETRY_STATUSES.has(statusCode) || !asksForRetry(reply)) return undefined
  const retryAfterMs = Math.max(...[reply.getHeader('retry-after'), retryAfterOf(error)].map(toMs))
  const spreadMs = REJECTION_RETRY_MS * ((retryAfterMs > 0 ? 0 : 1) + Math.random())
  return { statusCode, retryMs: Math.min(MAX_RETRY_MS, Math.round(retryAfterMs + spreadMs)) }
}

/** Logs a rejection, and ends its stream with `retry:`. */
export function reject (reply: FastifyReply, stream: SseStream, err: unknown, rejection: Rejection): void {
  const { statusCode, retryMs } = rejection
  // Clients can reach a limit at any time, so this must not fill the log.
  const level = statusCode === 429 ? 'debug' : 'warn'
  const { topics } = stream
  reply.log[level]({ err, topics, retryMs }, 'event stream rejected: the client is asked to retry later')
  // EventSource accepts no other status.
  reply.code(200)
  stream.closeWithRetry('error', retryMs)
}

/** Errors may have headers, as those of `http-errors` do; Fastify's error handler sends them. */
function retryAfterOf (error: unknown): unknown {
  const headers: unknown = (error as { headers?: unknown } | null | undefined)?.headers
  if (typeof headers !== 'object' || headers === null) return undefined
  return Object.entries(headers).find(([name]) => name.toLowerCase() === 'retry-after')?.[1]
}

/** A `Retry-After` in ms, from seconds or a date; 0 if there is none. */
function toMs (value: unknown): number {
  const text = String(value ?? '')
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now()
  return ms > 0 ? ms : 0
}
