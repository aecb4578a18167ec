import type { FastifyRequest } from 'fastify'

/**
 * Reads and discards the body of a GET, which Fastify never reads. It would stay in memory for as long as the stream
 * lasts, as up to 16,384 buffers of one byte. HTTP/2 limits unread data itself. A body that the handler reads is left
 * to the handler.
 *
 * A request without a body is not read to its end, because Node then emits 'close' on it, which applications and
 * Fastify (`onRequestAbort`, `request.signal`) take for a disconnect of the client.
 */
export function discardBody ({ method, raw }: FastifyRequest): void {
  if (method !== 'GET' || raw.readableFlowing !== null || 'stream' in raw) return
  if (raw.complete && raw.readableLength === 0) return
  raw.resume()
}
