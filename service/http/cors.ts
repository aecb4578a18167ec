import cors from '@fastify/cors'
import type { FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** Browsers ask again after this many seconds whether they may; Chromium keeps no answer for longer. */
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
 * Lets pages of these origins use the service, refusals included; undefined lets none. `*` alone lets all of them, and
 * then without cookies, as the fetch standard demands. Call it before the routes are added, and before methods are
 * watched.
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
      // Any other OPTIONS asks which methods a path has.
      preflight: request.headers['access-control-request-method'] !== undefined
    })
  })
}
