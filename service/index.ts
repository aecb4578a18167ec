import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import sse from '../plugin/index.ts'
import topics from '../topics/index.ts'
import type { ServiceConfig } from './config.ts'
import { boundClose, closeSessions } from './connections.ts'
import { consoleRoute } from './console-route.ts'
import { eventsRoute } from './events-route.ts'
import { createLog } from './log.ts'
import { watchMethods } from './methods.ts'
import { MAX_BODY_BYTES, tellRefusals } from './refusals.ts'
import { QuietLog } from './quiet-log.ts'
import { secureOptions } from './tls.ts'
import { topicsRoutes } from './topics-routes.ts'

export { ConfigError, readConfig } from './config.ts'
export type { ServiceConfig } from './config.ts'

/**
 * Builds the service from its configuration; `listen` and `close` are the caller's.
 * Registration order is the service: the stream, the log, the routes.
 */
export async function buildService (config: ServiceConfig): Promise<FastifyInstance> {
  const options: FastifyServerOptions = {
    logger: { level: config.logLevel },
    logController: new QuietLog(),
    // A new stream during the drain is told to come back, which EventSource survives; Fastify's own 503 would end it.
    return503OnClosing: false,
    bodyLimit: MAX_BODY_BYTES,
    // As long as a request line can be: a topic that is too long is refused as a topic, with its own limit.
    routerOptions: { maxParamLength: 16 * 1024 }
  }
  // Fastify types each kind of server apart; to a route they are the same.
  const app = Fastify({ ...options, ...secureOptions(config) })
  tellRefusals(app)
  boundClose(app, config.drainMs)
  await app.register(sse, { heartbeatMs: config.heartbeatMs, drainMs: config.drainMs })
  await app.register(topics, { log: createLog(config) })
  const refuseOtherMethods = watchMethods(app)
  eventsRoute(app)
  topicsRoutes(app)
  app.get('/healthz', async () => ({ status: 'ok' }))
  if (config.hasConsole) await consoleRoute(app)
  refuseOtherMethods()
  closeSessions(app)
  return app
}
