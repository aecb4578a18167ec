import type { FastifyReply } from 'fastify'

/**
 * Hijacks a reply that is about to stream. `reply.hijack()` also detaches `request.signal` from the connection, which
 * the source may use; it is attached again until the response is finished.
 */
export function takeOver (reply: FastifyReply): void {
  const { raw: request } = reply.request
  const before = request.listeners('close')
  reply.hijack()
  const after = request.listeners('close')
  for (const listener of before.filter(each => !after.includes(each)) as Array<() => void>) {
    request.on('close', listener)
    reply.raw.once('finish', () => request.off('close', listener))
  }
}
