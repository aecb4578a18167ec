import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Aggregator } from 'prom-client'
import type { LogHealth, TopicLog, TopicsObserver } from 'fastify-resumable-sse/topics'
import type { ConnectionCounts } from '../http/connections/connections.ts'
import type { Drain } from '../streams/drain.ts'
import type { StreamGate } from '../streams/stream-gate.ts'
import { watchDrain, watchRedis } from './health-metrics.ts'
import { MeteredLog } from './metered-log.ts'
import { describe, PREFIX } from './live-metrics.ts'
import { packageVersion } from '../version.ts'
import { countPublishes } from './publish-metrics.ts'
import { watchConnections } from './connection-metrics.ts'
import { watchStreams } from './stream-metrics.ts'
import { createTopicsObserver, watchTopics } from './topic-metrics.ts'
import { tellerOf } from './worker-metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of this instance. Gauges state how the values of several processes are combined. */
    metrics: Registry
  }
}

/**
 * Gauges of prom-client with the suffix of counters, which Prometheus' linter rejects; the same numbers exist by type.
 */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** The start of the names of prom-client's gauges for the event loop. */
const LOOP = `${PREFIX}nodejs_eventloop_lag`

export interface MetricsInit { gate: StreamGate, drain: Drain, log: TopicLog, connections: ConnectionCounts }

/** Options for the topics of the service, so that they are counted. */
export interface Metered { log: MeteredLog, observer: TopicsObserver }

/**
 * Adds its metrics to the app, and returns what its topics need for theirs. Never a label by topic, subject or address.
 */
export function addMetrics (app: FastifyInstance, { gate, drain, log, connections }: MetricsInit): Metered {
  const registry = new Registry()
  app.decorate('metrics', registry)
  collectDefaultMetrics({ register: registry, prefix: PREFIX })
  for (const name of MISNAMED) registry.removeSingleMetric(`${PREFIX}${name}`)
  reportSlowestLoop(registry)
  addBuildInfo(registry)
  countPublishes(app, registry)
  watchStreams(registry, app.sse.streams, gate.rejected)
  watchConnections(registry, connections)
  watchTopics(registry, () => app.topics.counts)
  watchDrain(registry, drain)
  if (log.health) watchRedis(registry, () => log.health as LogHealth)
  return { log: new MeteredLog(log, registry), observer: createTopicsObserver(registry) }
}

/** Of several workers the one whose event loop is blocked counts: an average would hide it from the alert. */
function reportSlowestLoop (registry: Registry): void {
  for (const metric of registry.getMetricsAsArray()) {
    if (metric.name.startsWith(LOOP)) Object.assign(metric, { aggregator: 'max' satisfies Aggregator })
  }
}

/** Always 1: the versions are in its labels. */
function addBuildInfo (registry: Registry): void {
  const info = new Gauge({
    ...describe(registry, 'build_info', 'Always 1: the version of the service, and of Node'),
    labelNames: ['version', 'node'],
    aggregator: 'max'
  })
  info.set({ version: packageVersion(), node: process.versions.node }, 1)
}

const schema = {
  tags: ['Service'],
  operationId: 'getMetrics',
  summary: 'Metrics for Prometheus',
  response: {
    200: { description: 'The text format of Prometheus', content: { 'text/plain': { schema: { type: 'string' } } } }
  }
}

/** `GET /metrics`, in the format of Prometheus; for all workers, whichever receives the request. */
export function metricsRoute (app: FastifyInstance): void {
  const tell = tellerOf(app.metrics)
  app.get('/metrics', { schema, config: { isPublic: true } }, async (request, reply) => (
    reply.type(app.metrics.contentType).send(await tell())
  ))
}
