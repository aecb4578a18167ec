import type { FastifyRequest } from 'fastify'

/**
 * Reads and discards the body of a GET, of which Fastify reads nothing. It would wait in memory for as long as the
 * stream lasts, 16,384 buffers of one byte if a client likes. HTTP/2 bounds what waits by itself. A body that the
 * handler reads is left to it.
 */
export function discardBody ({ method, raw }: FastifyRequest): void {
  if (method !== 'GET' || raw.readableFlowing !== null || 'stream' in raw) return
  raw.resume()
}
