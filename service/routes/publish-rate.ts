import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { RateWindows } from 'fastify-resumable-sse/auth'
import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'

/**
 * Limits how often one subject, or one address where nobody signs in, may publish: `perSecond` requests, whatever is in
 * them; 0 sets no limit. For routes with `config.rateLimit`, which must be added afterwards. The subject is known when
 * a request is counted: the guard of `authenticate` is the first hook of its route. Each process counts by itself.
 */
export async function limitPublishing (app: FastifyInstance, perSecond: number): Promise<void> {
  if (perSecond === 0) return
  await app.register(rateLimit, {
    global: false,
    max: perSecond,
    timeWindow: 1_000,
    store: RateWindows,
    enableDraftSpec: true,
    keyGenerator: publisherOf,
    errorResponseBuilder: (request, { max }) => new errors.SERVICE_TOO_MANY_PUBLISHES(max)
  })
}

/** By whom requests are counted. */
export function publisherOf ({
  grant,
  ip
}: Partial<Pick<FastifyRequest, 'grant'>> & Pick<FastifyRequest, 'ip'>): string {
  return grant ? `subject ${grant.subject}` : `address ${addressOf(ip)}`
}
