import Negotiator from 'negotiator'
import type { FastifyRequest } from 'fastify'

const SSE = 'text/event-stream'

/**
 * True when the Accept header admits `text/event-stream` (RFC 9110, 12.5.1): no header, a wildcard or the type itself,
 * none of them with `q=0`. The most specific range decides.
 */
export function acceptsSse (accept: string | undefined): boolean {
  if (accept === undefined || accept === SSE || accept === '*/*') return true
  return new Negotiator({ headers: { accept } }).mediaType([SSE]) !== undefined
}

/**
 * True for what EventSource sends: a GET whose Accept header names `text/event-stream` itself. An error response would
 * end it, so that it is asked to retry instead. Whoever sends another method, or no such header, reads the status.
 */
export function isEventSource ({ method, headers: { accept } }: FastifyRequest): boolean {
  return (
    method === 'GET' &&
    accept !== undefined &&
    /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(accept) &&
    acceptsSse(accept)
  )
}

/**
 * The client's `Last-Event-ID`, or undefined when absent or empty. Node reads header bytes as latin1 while browsers
 * send UTF-8, so it is decoded again. Several headers of this name are joined by ", ", as Node joins them: `app.topics`
 * continues at the last one that is a cursor, see `readCursor()`.
 */
export function readLastEventId (request: FastifyRequest): string | undefined {
  const value = [request.headers['last-event-id'] ?? []].flat().join(', ')
  if (value === '') return undefined
  return Buffer.from(value, 'latin1').toString('utf8')
}
