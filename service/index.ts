import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { authenticate } from './auth.ts'
import { readBodies } from './http/bodies.ts'
import { gateBodies } from './http/body-gate.ts'
import type { ServiceConfig } from './config/config.ts'
import { limitConnections } from './http/connection-limit.ts'
import { boundClose, ConnectionCounts } from './http/connections.ts'
import { consoleRoute } from './routes/console-route.ts'
import { allowOrigins } from './http/cors.ts'
import { addDrain } from './streams/drain.ts'
import { eventsRoute } from './routes/events-route.ts'
import { healthRoutes } from './routes/health.ts'
import { inflateBodies } from './http/inflate.ts'
import { createLog } from './log.ts'
import { LogLimit } from './http/log-limit.ts'
import { watchMethods } from './http/methods.ts'
import { addMetrics, metricsRoute } from './metrics/index.ts'
import { OpenStreams } from './streams/open-streams.ts'
import { describeRoutes, openapiRoute } from './http/openapi.ts'
import { PageGate } from './http/page-gate.ts'
import { secureResponses } from './http/response-headers.ts'
import { boundPipelining } from './http/pipelining.ts'
import { overviewRoutes } from './routes/overview-routes.ts'
import { limitPublishing } from './routes/publish-rate.ts'
import { QuietLog, serializers } from './http/quiet-log.ts'
import { handleErrors } from './http/error-handler.ts'
import { StreamGate } from './streams/stream-gate.ts'
import { StreamLimits } from './streams/stream-limits.ts'
import { applyTimeouts, TIMEOUTS } from './http/timeouts.ts'
import type { Timeouts } from './http/timeouts.ts'
import { secureOptions } from './http/tls.ts'
import { describeTokenCalls } from './routes/token-calls.ts'
import { topicsRoutes } from './routes/topics-routes.ts'
import { onClientError, handleMalformed, routableUrl } from './http/malformed-requests.ts'

export { ConfigError, readConfig } from './config/read-config.ts'
export type { ServiceConfig } from './config/config.ts'

/** Without TLS; with TLS Node does not require Host either. */
const plainOptions = { http: { requireHostHeader: false } }

/**
 * Builds the service from its configuration; the caller calls `listen` and `close`. Registration order is the service:
 * the stream, the log, the routes. `timeouts` vary only in tests.
 */
export async function buildService (config: ServiceConfig, timeouts: Timeouts = TIMEOUTS): Promise<FastifyInstance> {
  const logLimit = new LogLimit()
  const options: FastifyServerOptions = {
    logger: { level: config.logLevel, serializers, hooks: logLimit.hooks },
    logController: new QuietLog(),
    // During the drain a new stream is asked to retry, which EventSource survives; Fastify's own 503 would end it.
    return503OnClosing: false,
    clientErrorHandler: onClientError,
    rewriteUrl: routableUrl,
    trustProxy: config.trustProxy ?? false,
    // As long as a request line can be: a topic name that is too long is rejected as a topic name, with its own limit.
    routerOptions: { maxParamLength: 16 * 1024 }
  }
  // Fastify types each kind of server separately; for a route they are the same.
  const app = Fastify({ ...options, ...plainOptions, ...secureOptions(config, timeouts) })
  logLimit.start(app)
  const connections = new ConnectionCounts(app)
  limitConnections(app, config.maxStreams, connections)
  applyTimeouts(app, timeouts, connections)
  boundPipelining(app, connections)
  boundClose(app, config.drainMs)
  handleErrors(app, config)
  secureResponses(app, { hasTls: config.tlsCert !== undefined })
  await allowOrigins(app, config.corsOrigins)
  handleMalformed(app, config)
  inflateBodies(app)
  gateBodies(app, { maxBodiesBytes: config.maxBodiesBytes, requestMs: timeouts.requestMs })
  readBodies(app, config)
  await app.register(sse, { heartbeatMs: config.heartbeatMs, drainMs: config.drainMs, answersWhileClosing: true })
  const log = createLog(config)
  const drain = addDrain(app, config.drainDelayMs)
  const streams = new OpenStreams()
  const { maxEventBytes, maxBatchEvents, maxTopics, maxTopicsPerStream } = config
  const metered = addMetrics(app, { streams, drain, log, connections })
  await app.register(topics, { ...metered, maxEventBytes, maxBatchEvents, maxTopics })
  await describeRoutes(app, config)
  await limitPublishing(app, config.publishRate)
  const answerOtherMethods = watchMethods(app)
  describeTokenCalls(app)
  await authenticate(app, config)
  eventsRoute(
    app,
    new StreamGate({ limits: new StreamLimits(config), streams, drain, maxTopicsPerStream }),
    config.maxLifetimeMs
  )
  const pages = { maxPagesBytes: config.maxBodiesBytes, maxEventBytes, sendMs: timeouts.requestMs, connections }
  await topicsRoutes(app, config, new PageGate(pages))
  overviewRoutes(app, { seen: metered.log.seen, streams })
  healthRoutes(app, { log, drain })
  metricsRoute(app)
  openapiRoute(app)
  if (config.hasConsole) await consoleRoute(app)
  answerOtherMethods()
  return app
}
