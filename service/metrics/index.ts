import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { LogHealth, TopicLog, TopicsObserver } from 'fastify-resumable-sse/topics'
import type { ConnectionCounts } from '../http/connections.ts'
import type { Drain } from '../streams/drain.ts'
import type { OpenStreams } from '../streams/open-streams.ts'
import { watchDrain, watchRedis } from './health-metrics.ts'
import { MeteredLog } from './metered-log.ts'
import { PREFIX } from './live-metrics.ts'
import { countPublishes } from './publish-metrics.ts'
import { watchConnections } from './connection-metrics.ts'
import { watchStreams } from './stream-metrics.ts'
import { createTopicsObserver, watchTopics } from './topic-metrics.ts'
import { tellerOf } from './worker-metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of this instance. Gauges say how those of several processes are put together. */
    metrics: Registry
  }
}

export interface MetricsInit { streams: OpenStreams, drain: Drain, log: TopicLog, connections: ConnectionCounts }

/** What the service's topics are given, so that they are counted. */
export interface Metered { log: TopicLog, observer: TopicsObserver }

/** Gives the app its metrics, and what its topics need for theirs. Never a label by topic, subject or address. */
export function addMetrics (app: FastifyInstance, { streams, drain, log, connections }: MetricsInit): Metered {
  const registry = new Registry()
  app.decorate('metrics', registry)
  collectDefaultMetrics({ register: registry, prefix: PREFIX })
  countPublishes(app, registry)
  watchStreams(registry, streams)
  watchConnections(registry, connections)
  watchTopics(registry, () => app.topics.counts)
  watchDrain(registry, drain)
  if (log.health) watchRedis(registry, () => log.health as LogHealth)
  return { log: new MeteredLog(log, registry), observer: createTopicsObserver(registry) }
}

const schema = {
  tags: ['Service'],
  operationId: 'getMetrics',
  summary: 'Metrics for Prometheus',
  response: { 200: { description: 'The text format of Prometheus', content: { 'text/plain': { schema: { type: 'string' } } } } }
}

/** `GET /metrics`, as Prometheus reads it; of all workers, whichever is asked. */
export function metricsRoute (app: FastifyInstance): void {
  const tell = tellerOf(app.metrics)
  app.get('/metrics', { schema }, async (request, reply) => reply.type(app.metrics.contentType).send(await tell()))
}
