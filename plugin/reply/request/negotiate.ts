import Negotiator from 'negotiator'
import type { FastifyRequest } from 'fastify'

const SSE = 'text/event-stream'

/**
 * True if the Accept header allows `text/event-stream` (RFC 9110, section 12.5.1): no header, a wildcard or the type
 * itself, without `q=0`. The most specific range decides.
 */
export function acceptsSse (accept: string | undefined): boolean {
  if (accept === undefined || accept === SSE || accept === '*/*') return true
  return new Negotiator({ headers: { accept } }).mediaType([SSE]) !== undefined
}

/**
 * True for what EventSource sends: a GET whose Accept header names `text/event-stream` itself. An error response would
 * end it, so it is asked to retry instead. Clients that send another method, or no such header, read the status.
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
 * The cursor of the client: the header `Last-Event-ID` or, without it, the query parameter `lastEventId`, which is all
 * that a new EventSource can send; undefined if both are missing or empty. Several values are joined by ", ", as Node
 * joins headers: `app.topics` continues after the last one that is a cursor, see `readCursor()`.
 */
export function readLastEventId ({ headers, query }: FastifyRequest): string | undefined {
  const header = [headers['last-event-id'] ?? []].flat().join(', ')
  // Node reads header bytes as latin1, and browsers send UTF-8.
  if (header !== '') return Buffer.from(header, 'latin1').toString('utf8')
  const { lastEventId } = (query ?? {}) as { lastEventId?: unknown }
  const values = [lastEventId].flat().filter(value => typeof value === 'string' && value !== '')
  return values.length === 0 ? undefined : values.join(', ')
}
