import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Counter } from 'prom-client'
import type { Registry } from 'prom-client'
import { describe } from './live-metrics.ts'

/** The path at which events are published. */
const PUBLISH_URL = '/topics/:topic/events'
const OUTCOMES = ['acknowledged', 'repeated', 'refused', 'limited', 'unavailable', 'aborted', 'failed'] as const

/** Counts the responses to publishes. Call it before routes are added. */
export function countPublishes (app: FastifyInstance, registry: Registry): void {
  const publishes = new Counter({
    ...describe(registry, 'publishes_total', 'Requests to publish, by outcome'),
    labelNames: ['outcome']
  })
  for (const outcome of OUTCOMES) publishes.inc({ outcome }, 0)
  app.addHook('onResponse', async (request, reply) => {
    if (isPublish(request) && !isAborted(request)) publishes.inc({ outcome: outcomeOf(reply) })
  })
  app.addHook('onRequestAbort', async request => {
    if (isPublish(request)) publishes.inc({ outcome: 'aborted' })
  })
}

const isPublish = ({ method, routeOptions }: FastifyRequest): boolean =>
  method === 'POST' && routeOptions.url === PUBLISH_URL

/** The client disconnected during the body; there is no response then, or nobody reads it. */
const isAborted = ({ raw }: FastifyRequest): boolean => raw.destroyed && !raw.complete

function outcomeOf (reply: FastifyReply): (typeof OUTCOMES)[number] {
  const { statusCode } = reply
  if (statusCode === 201) return reply.hasHeader('idempotency-replayed') ? 'repeated' : 'acknowledged'
  if (statusCode === 503) return 'unavailable'
  if (statusCode >= 500) return 'failed'
  return statusCode === 429 ? 'limited' : 'refused'
}
