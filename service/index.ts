import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import topics, { Turns } from 'fastify-resumable-sse/topics'
import { authentication } from './auth.ts'
import { bodies } from './http/bodies/bodies.ts'
import { bodyGate } from './http/bodies/body-gate.ts'
import { ByteBudget } from './http/bodies/byte-budget.ts'
import type { ServiceConfig } from './config/config.ts'
import { limitConnections } from './http/connections/connection-limit.ts'
import { closeLimit, ConnectionCounts } from './http/connections/connections.ts'
import { crossOrigin } from './http/cors.ts'
import { addDrain } from './streams/drain.ts'
import { inflation } from './http/bodies/inflate.ts'
import { compilers } from './http/schemas/compilers.ts'
import { createLog } from './log.ts'
import { LogLimit } from './http/log-limit.ts'
import { LogOutput } from './http/log-output.ts'
import { LiveBudgets } from './producers/live-budgets.ts'
import { methods, otherMethods } from './http/methods.ts'
import { addMetrics } from './metrics/index.ts'
import { openapi } from './http/schemas/openapi.ts'
import { ResponseGate } from './http/response-gate.ts'
import { secureResponses } from './http/response-headers.ts'
import { boundPipelining } from './http/connections/pipelining.ts'
import { routes } from './routes/index.ts'
import type { RoutesInit } from './routes/index.ts'
import { publishRate } from './routes/publish-rate.ts'
import { QuietLog, serializers } from './http/quiet-log.ts'
import { errorHandling } from './http/error-handler.ts'
import { streaming } from './streams/sse.ts'
import { StreamGate } from './streams/stream-gate.ts'
import { StreamLimits } from './streams/stream-limits.ts'
import { applyTimeouts, TIMEOUTS } from './http/connections/timeouts.ts'
import type { Timeouts } from './http/connections/timeouts.ts'
import { secureOptions } from './http/connections/tls.ts'
import { tokenCalls } from './routes/token-route-schemas.ts'
import { onClientError, handleMalformed, routableUrl } from './http/connections/malformed-requests.ts'

export { ConfigError, readConfig } from './config/read-config.ts'
export type { ServiceConfig } from './config/config.ts'

/** Without TLS; with TLS Node does not require Host either. */
const plainOptions = { http: { requireHostHeader: false } }

/**
 * Builds the service from its configuration; the caller calls `listen` and `close`. The registration order shows the
 * structure: connections, requests, the log with its streams, the routes. If the order matters, a plugin lists its
 * prerequisites as dependencies, and the start fails without them. `timeouts` differ only in tests.
 */
export async function buildService (config: ServiceConfig, timeouts: Timeouts = TIMEOUTS): Promise<FastifyInstance> {
  const logLimit = new LogLimit()
  // Fastify types each kind of server separately; for a route they are the same.
  const app = Fastify({ ...serverOptions(config, logLimit), ...plainOptions, ...secureOptions(config, timeouts) })
  logLimit.start(app)
  const connections = await boundConnections(app, config, timeouts)
  const budget = await readRequests(app, config, timeouts)
  const responses = new ResponseGate(app, { maxBytes: config.maxBodiesBytes, sendMs: timeouts.requestMs, connections })
  const topicsInit = await addTopics(app, config, connections)
  await prepareRoutes(app, config)
  const live = liveBodies(config, timeouts, budget)
  await app.register(routes, { config, ...topicsInit, responses, live })
  await app.register(otherMethods)
  return app
}

function serverOptions (config: ServiceConfig, { hooks }: LogLimit): FastifyServerOptions {
  return {
    logger: { level: config.logLevel, serializers, hooks, stream: new LogOutput() },
    logController: new QuietLog(),
    // During the drain, clients of new streams are asked to retry, after which an EventSource reconnects; Fastify's own
    // 503 would end it.
    return503OnClosing: false,
    clientErrorHandler: onClientError,
    rewriteUrl: routableUrl,
    trustProxy: config.trustProxy ?? false,
    // The maximum length of a request line, so that a topic name that is too long is rejected as a topic name, with its
    // own limit.
    routerOptions: { maxParamLength: 16 * 1024 },
    schemaController: { compilersFactory: compilers }
  }
}

/** How many connections there may be, what they may do, and how long they may take. */
async function boundConnections (
  app: FastifyInstance, { maxStreams, heartbeatMs, replicasTimeoutMs, drainMs }: ServiceConfig, timeouts: Timeouts
): Promise<ConnectionCounts> {
  const connections = new ConnectionCounts(app)
  // Node would ignore headers after the thousandth, such as one that a proxy appends; their bytes are limited anyway.
  app.server.maxHeadersCount = 0
  limitConnections(app, maxStreams, connections)
  applyTimeouts(app, timeouts, { heartbeatMs, replicasTimeoutMs, connections })
  boundPipelining(app, connections)
  await app.register(closeLimit, { drainMs })
  return connections
}

/** From the head of a request to its events, with the errors on the way. Returns the limit that all bodies share. */
async function readRequests (
  app: FastifyInstance, config: ServiceConfig, { requestMs }: Timeouts
): Promise<ByteBudget> {
  const { maxBodyBytes, maxBatchBytes, maxEventBytes, maxBatchEvents } = config
  await app.register(errorHandling, { maxBodyBytes })
  secureResponses(app, { hasTls: config.tlsCert !== undefined })
  await app.register(crossOrigin, { origins: config.corsOrigins })
  handleMalformed(app, config)
  await app.register(inflation)
  // A single body may be larger.
  const budget = new ByteBudget(config.maxBodiesBytes)
  await app.register(bodyGate, { budget, requestMs })
  await app.register(bodies, { maxBodyBytes, maxBatchBytes, maxEventBytes, maxBatchEvents })
  return budget
}

/** `reply.sse()` and `app.topics`, with their limits, metrics and drain. */
async function addTopics (
  app: FastifyInstance, config: ServiceConfig, connections: ConnectionCounts
): Promise<Pick<RoutesInit, 'log' | 'seen' | 'problem' | 'drain' | 'streams'>> {
  const { heartbeatMs, drainMs, gzipMinBytes, maxEventBytes, maxBatchEvents, maxTopics, maxTopicsPerStream } = config
  // Before the streams: hooks run in this order when the app closes, and their hook waits until they have ended.
  const drain = addDrain(app, config.drainDelayMs)
  await app.register(streaming, { heartbeatMs, drainMs, gzipMinBytes })
  const log = await createLog(config)
  const streams = new StreamGate({ limits: new StreamLimits(app.sse.streams, config), drain, maxTopicsPerStream })
  const metered = addMetrics(app, { gate: streams, drain, log, connections })
  await app.register(topics, { ...metered, maxEventBytes, maxBatchEvents, maxTopics })
  const { seen, problem } = metered.log
  return { log, seen, problem, drain, streams }
}

/** What has to see each route when it is added. */
async function prepareRoutes (app: FastifyInstance, config: ServiceConfig): Promise<void> {
  await app.register(openapi, { config })
  await app.register(publishRate, { perSecond: config.publishRate })
  await app.register(methods)
  await app.register(tokenCalls)
  await app.register(authentication, { config })
}

function liveBodies (
  { maxBodiesBytes }: ServiceConfig, { silentMs }: Timeouts, budget: ByteBudget
): RoutesInit['live'] {
  return { budgets: new LiveBudgets(maxBodiesBytes, budget), silentMs, turns: new Turns() }
}
