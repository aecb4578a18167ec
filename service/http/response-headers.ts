import type { FastifyInstance } from 'fastify'

/** A year, as browsers expect of sites that support only TLS. */
const STRICT_TRANSPORT = 'max-age=31536000'

/**
 * Headers of every response: JSON is neither cached nor interpreted as any other type, and with TLS browsers are
 * instructed to use TLS only.
 */
export function secureResponses (app: FastifyInstance, { hasTls }: { hasTls: boolean }): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (hasTls) reply.header('strict-transport-security', STRICT_TRANSPORT)
    if (String(reply.getHeader('content-type')).startsWith('application/json')) {
      reply.header('x-content-type-options', 'nosniff')
      if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    }
    done()
  })
}
