import type { FastifyInstance, FastifyReply } from 'fastify'
import { Counter } from 'prom-client'
import type { Registry } from 'prom-client'
import { describe } from './live-metrics.ts'

/** The path at which events are published. */
const PUBLISH_URL = '/topics/:topic/events'
const OUTCOMES = ['acknowledged', 'repeated', 'refused', 'limited', 'unavailable', 'failed'] as const

/** Counts the answers to publishes. Call it before the routes are added. */
export function countPublishes (app: FastifyInstance, registry: Registry): void {
  const publishes = new Counter({ ...describe(registry, 'publishes_total', 'Requests to publish, by outcome'), labelNames: ['outcome'] })
  for (const outcome of OUTCOMES) publishes.inc({ outcome }, 0)
  app.addHook('onResponse', async (request, reply) => {
    if (request.method === 'POST' && request.routeOptions.url === PUBLISH_URL) publishes.inc({ outcome: outcomeOf(reply) })
  })
}

function outcomeOf (reply: FastifyReply): (typeof OUTCOMES)[number] {
  const { statusCode } = reply
  if (statusCode === 201) return reply.hasHeader('idempotency-replayed') ? 'repeated' : 'acknowledged'
  if (statusCode === 503) return 'unavailable'
  if (statusCode >= 500) return 'failed'
  return statusCode === 429 ? 'limited' : 'refused'
}
