import type { FastifyRequest } from 'fastify'

/**
 * True if the client disconnected before its body was complete; there is no response then, or nobody reads it. Over
 * HTTP/2 also if it reset the stream before the response: Node calls such a request complete.
 */
export function isAborted ({ raw }: FastifyRequest): boolean {
  return raw.aborted || (raw.destroyed && !raw.complete)
}
