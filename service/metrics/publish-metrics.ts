import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Counter } from 'prom-client'
import type { Registry } from 'prom-client'
import { isAborted } from '../http/is-aborted.ts'
import { describe } from './live-metrics.ts'

/** The path at which events are published. */
const PUBLISH_URL = '/topics/:topic/events'
const OUTCOMES = ['acknowledged', 'repeated', 'refused', 'limited', 'unavailable', 'aborted', 'failed'] as const

/** Counts the responses to publishes. Call it before routes are added. */
export function countPublishes (app: FastifyInstance, registry: Registry): void {
  const publishes = new Counter({
    ...describe(registry, 'publishes_total', 'Publish requests'),
    labelNames: ['outcome']
  })
  const counters = new Map(OUTCOMES.map(outcome => [outcome, publishes.labels({ outcome })]))
  for (const counter of counters.values()) counter.inc(0)
  app.addHook('onResponse', (request, reply, done) => {
    if (isPublish(request) && !isAborted(request)) counters.get(outcomeOf(reply))!.inc()
    done()
  })
  app.addHook('onRequestAbort', async request => {
    if (isPublish(request)) counters.get('aborted')!.inc()
  })
}

const isPublish = ({ method, routeOptions }: FastifyRequest): boolean =>
  method === 'POST' && routeOptions.url === PUBLISH_URL

function outcomeOf (reply: FastifyReply): (typeof OUTCOMES)[number] {
  const { statusCode } = reply
  if (statusCode === 201) return reply.hasHeader('idempotency-replayed') ? 'repeated' : 'acknowledged'
  if (statusCode === 503) return 'unavailable'
  if (statusCode >= 500) return 'failed'
  return statusCode === 429 ? 'limited' : 'refused'
}
