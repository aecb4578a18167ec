import type { FastifyInstance } from 'fastify'

/** A year, as browsers want it for sites that speak TLS only. */
const STRICT_TRANSPORT = 'max-age=31536000'

/**
 * Headers of every response: what is JSON is kept by no cache and taken for nothing else, and with TLS browsers are
 * told to use nothing but TLS.
 */
export function secureResponses (app: FastifyInstance, { hasTls }: { hasTls: boolean }): void {
  app.addHook('onSend', async (request, reply) => {
    if (hasTls) reply.header('strict-transport-security', STRICT_TRANSPORT)
    if (!String(reply.getHeader('content-type')).startsWith('application/json')) return
    reply.header('x-content-type-options', 'nosniff')
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
  })
}
