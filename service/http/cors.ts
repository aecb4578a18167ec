import cors from '@fastify/cors'
import type { FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** How long browsers may cache a preflight response, in seconds; Chromium caches none for longer. */
const PREFLIGHT_SECONDS = 7_200

const SHARED: FastifyCorsOptions = {
  methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
  allowedHeaders: [
    'last-event-id',
    'authorization',
    'cache-control',
    'content-type',
    'content-encoding',
    'idempotency-key',
    'producer-id',
    'producer-after',
    'x-request-id',
    'x-requested-with',
    'traceparent',
    'tracestate',
    'baggage'
  ],
  exposedHeaders: [
    'idempotency-replayed',
    'producer-accepted',
    'retry-after',
    'ratelimit-limit',
    'ratelimit-remaining',
    'ratelimit-reset'
  ],
  maxAge: PREFLIGHT_SECONDS
}

export interface CorsInit { origins: readonly string[] | undefined }

/**
 * Allows pages of these origins to use the service and to read its error responses; undefined allows none. `*` alone
 * allows all origins, but without cookies, as the Fetch standard requires.
 */
async function allowOrigins (app: FastifyInstance, { origins }: CorsInit): Promise<void> {
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

export const crossOrigin = fp(allowOrigins, { name: 'service-cors' })
