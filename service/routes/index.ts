import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { TopicLog } from 'fastify-resumable-sse/topics'
import type { ServiceConfig } from '../config/config.ts'
import { openapiRoute } from '../http/schemas/openapi.ts'
import type { ResponseGate } from '../http/response-gate.ts'
import type { AppendProblem } from '../metrics/append-problem.ts'
import { metricsRoute } from '../metrics/index.ts'
import type { SeenTopics } from '../metrics/seen-topics.ts'
import { producerRoutes } from '../producers/index.ts'
import type { LiveRoutesInit } from '../producers/live-request.ts'
import type { Drain } from '../streams/drain.ts'
import type { StreamGate } from '../streams/stream-gate.ts'
import { consoleRoute } from './console-route.ts'
import { eventsRoute } from './events-route.ts'
import { healthRoutes } from './health-routes.ts'
import { overviewRoutes } from './overview-routes.ts'
import { topicsRoutes } from './topics-routes.ts'

export interface RoutesInit {
  config: ServiceConfig
  log: TopicLog
  seen: SeenTopics
  problem: AppendProblem
  drain: Drain
  streams: StreamGate
  responses: ResponseGate
  live: LiveRoutesInit
}

/** All routes of the service except those of one-time tokens, which authentication adds. */
async function addRoutes (app: FastifyInstance, init: RoutesInit): Promise<void> {
  const { config, log, seen, problem, drain, streams, responses, live } = init
  eventsRoute(app, streams, config.maxLifetimeMs)
  await topicsRoutes(app, config, responses)
  await producerRoutes(app, config, live)
  overviewRoutes(app, seen)
  healthRoutes(app, { log, drain, problem })
  metricsRoute(app)
  openapiRoute(app)
  if (config.hasConsole) await consoleRoute(app)
}

/** Plugins that must have been registered before, because they only affect routes that are added later. */
const dependencies = [
  'fastify-resumable-sse-topics',
  'service-errors',
  'service-bodies',
  'service-openapi',
  'service-methods',
  'service-publish-rate',
  'service-auth'
]

export const routes = fp(addRoutes, { name: 'service-routes', dependencies })
