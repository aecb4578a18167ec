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
import { methods, otherMethods } from './http/methods.ts'
import { addMetrics } from './metrics/index.ts'
import { openapi } from './http/schemas/openapi.ts'
import { ResponseGate } from './http/response-gate.ts'
import { secureResponses } from './http/response-headers.ts'
import { boundPipelining } from './http/connections/pipelining.ts'
import { routes } from './routes/index.ts'
import { publishRate } from './routes/publish-rate.ts'
import { QuietLog, serializers } from './http/quiet-log.ts'
import { errorHandling } from './http/error-handler.ts'
import { streaming } from './streams/sse.ts'
import { StreamGate } from './streams/stream-gate.ts'
import { StreamLimits } from './streams/stream-limits.ts'
import { applyTimeouts, TIMEOUTS } from './http/connections/timeouts.ts'
import type { Timeouts } from './http/connections/timeouts.ts'
import { secureOptions } from './http/connections/tls.ts'
import { tokenCalls } from './routes/token-calls.ts'
import { onClientError, handleMalformed, routableUrl } from './http/connections/malformed-requests.ts'

export { ConfigError, readConfig } from './config/read-config.ts'
export type { ServiceConfig } from './config/config.ts'

/** Without TLS; with TLS Node does not require Host either. */
const plainOptions = { http: { requireHostHeader: false } }

/**
 * Builds the service from its configuration; the caller calls `listen` and `close`. The registration order shows the
 * structure: the stream, the log, the routes. If the order matters, a plugin lists its prerequisites as dependencies,
 * and the start fails without them. `timeouts` differ only in tests.
 */
export async function buildService (config: ServiceConfig, timeouts: Timeouts = TIMEOUTS): Promise<FastifyInstance> {
  const logLimit = new LogLimit()
  const options: FastifyServerOptions = {
    logger: { level: config.logLevel, serializers, hooks: logLimit.hooks, stream: new LogOutput() },
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
  // Fastify types each kind of server separately; for a route they are the same.
  const app = Fastify({ ...options, ...plainOptions, ...secureOptions(config, timeouts) })
  logLimit.start(app)
  const connections = new ConnectionCounts(app)
  limitConnections(app, config.maxStreams, connections)
  const { heartbeatMs, replicasTimeoutMs } = config
  applyTimeouts(app, timeouts, { heartbeatMs, replicasTimeoutMs, connections })
  boundPipelining(app, connections)
  await app.register(closeLimit, { drainMs: config.drainMs })
  await app.register(errorHandling, { maxBodyBytes: config.maxBodyBytes })
  secureResponses(app, { hasTls: config.tlsCert !== undefined })
  await app.register(crossOrigin, { origins: config.corsOrigins })
  handleMalformed(app, config)
  await app.register(inflation)
  // A single body may be larger.
  const budget = new ByteBudget(config.maxBodiesBytes)
  await app.register(bodyGate, { budget, requestMs: timeouts.requestMs })
  const { maxBodyBytes, maxBatchBytes, maxEventBytes, maxBatchEvents, maxTopics, maxTopicsPerStream } = config
  await app.register(bodies, { maxBodyBytes, maxBatchBytes, maxEventBytes, maxBatchEvents })
  const responses = new ResponseGate(app, { maxBytes: config.maxBodiesBytes, sendMs: timeouts.requestMs, connections })
  await app.register(streaming, { heartbeatMs, drainMs: config.drainMs, gzipMinBytes: config.gzipMinBytes })
  const log = await createLog(config)
  const drain = addDrain(app, config.drainDelayMs)
  const streams = new StreamGate({ limits: new StreamLimits(app.sse.streams, config), drain, maxTopicsPerStream })
  const metered = addMetrics(app, { gate: streams, drain, log, connections })
  await app.register(topics, { ...metered, maxEventBytes, maxBatchEvents, maxTopics })
  await app.register(openapi, { config })
  await app.register(publishRate, { perSecond: config.publishRate })
  await app.register(methods)
  await app.register(tokenCalls)
  await app.register(authentication, { config })
  // A live body may keep its bytes for as long as it lasts, so the rest is for others.
  const liveBudget = new ByteBudget(config.maxBodiesBytes / 2, budget)
  const live = { budget: liveBudget, silentMs: timeouts.silentMs, turns: new Turns() }
  await app.register(routes, { config, log, seen: metered.log.seen, drain, streams, responses, live })
  await app.register(otherMethods)
  return app
}
