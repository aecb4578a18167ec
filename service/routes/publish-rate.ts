import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RateWindows } from 'fastify-resumable-sse/auth'
import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'

/**
 * Limits how often one subject (or one address, without authentication) may publish: `perSecond` requests, regardless
 * of their content; 0 means no limit. For routes with `config.rateLimit`. The subject is known when a request is
 * counted, because the guard of authentication is the first hook of its route. Each process counts separately.
 */
async function limitPublishing (app: FastifyInstance, { perSecond }: { perSecond: number }): Promise<void> {
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

export const publishRate = fp(limitPublishing, { name: 'service-publish-rate' })

/** The key under which the requests of a publisher are counted. */
export function publisherOf ({
  grant,
  ip
}: Partial<Pick<FastifyRequest, 'grant'>> & Pick<FastifyRequest, 'ip'>): string {
  return grant ? `subject ${grant.subject}` : `address ${addressOf(ip)}`
}
