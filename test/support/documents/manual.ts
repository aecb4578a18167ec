import type { FastifyInstance } from 'fastify'
import type { CloseReason, SseStream } from '../../../plugin/index.ts'

/** A route that passes its stream to the test, with a record of how it ended. */
export function manual (
  app: FastifyInstance,
  path = '/',
  options = {}
): { stream: Promise<SseStream>, reason: Promise<CloseReason> } {
  let onClose!: (reason: CloseReason) => void
  const reason = new Promise<CloseReason>(resolve => { onClose = resolve })
  const stream = new Promise<SseStream>(resolve => {
    app.get(path, (request, reply) => { resolve(reply.sse(undefined, { ...options, onClose })) })
  })
  return { stream, reason }
}
