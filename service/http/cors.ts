import cors from '@fastify/cors'
import type { FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** How long browsers may cache a preflight response, in seconds; Chromium caches none for longer. */
const PREFLIGHT_SECONDS = 7_200

const SHARED: FastifyCorsOptions = {
  methods: ['GET', 'HEAD', 'POST', 'DELETE'],
  allowedHeaders: [
    'last-event-id',
    'authorization',
    'cache-control',
    'content-type',
    'content-encoding',
    'idempotency-key',
    'x-request-id',
    'x-requested-with',
    'traceparent',
    'tracestate',
    'baggage'
  ],
  exposedHeaders: ['idempotency-replayed', 'retry-after', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
  maxAge: PREFLIGHT_SECONDS
}

/**
 * Allows pages of these origins to use the service and to read its error responses; undefined allows none. `*` alone
 * allows all origins, but without cookies, as the Fetch standard requires. Call it before routes are added and before
 * methods are watched.
 */
export async function allowOrigins (app: FastifyInstance, origins: readonly string[] | undefined): Promise<void> {
  if (origins === undefined) return
  const allowed = new Set(origins)
  const isOpen = allowed.has('*')
  await app.register(cors, {
    delegator: async (request: FastifyRequest) => ({
      ...SHARED,
      origin: isOpen ? '*' : allowed.has(request.headers.origin ?? ''),
      credentials: !isOpen,
      // Any other OPTIONS request asks which methods a path supports.
      preflight: request.headers['access-control-request-method'] !== undefined
    })
  })
}
