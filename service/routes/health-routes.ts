import type { FastifyInstance } from 'fastify'
import type { TopicLog } from 'fastify-resumable-sse/topics'
import type { AppendProblem } from '../metrics/append-problem.ts'
import type { Drain } from '../streams/drain.ts'

export interface HealthInit {
  log: TopicLog
  drain: Drain
  /** Why a log without `health` rejects events although it can be read. */
  problem: AppendProblem
}

/** One condition of readiness, and details for an operator if it is not met. */
interface Check { isOk: boolean, [detail: string]: boolean | number | string }

/** How long the log may take to respond. */
const LOG_TIMEOUT_MS = 2_000
/** Any topic will do: its ends are read, and nothing is written. */
const ASKED_TOPIC = 'ready'

const check = {
  type: 'object',
  required: ['isOk'],
  properties: { isOk: { type: 'boolean' } },
  additionalProperties: true
}
const readiness = {
  type: 'object',
  required: ['status', 'checks'],
  properties: {
    status: { type: 'string', enum: ['ready', 'not ready'] },
    checks: { type: 'object', additionalProperties: check }
  }
}

const healthSchema = {
  tags: ['Service'],
  operationId: 'getHealth',
  summary: 'Liveness probe',
  response: {
    200: {
      type: 'object',
      description: 'The process is alive',
      required: ['status'],
      properties: { status: { type: 'string', const: 'ok' } },
      examples: [{ status: 'ok' }]
    }
  }
}
const readySchema = {
  tags: ['Service'],
  operationId: 'getReadiness',
  summary: 'Readiness probe',
  querystring: {
    type: 'object',
    properties: {
      check: {
        type: 'string',
        enum: ['log', 'canary', 'draining'],
        description: 'Only this check decides. With `draining` the process stays ready while its log is unavailable.'
      }
    },
    additionalProperties: false
  },
  response: {
    200: {
      ...readiness,
      description: 'The process should receive clients',
      examples: [{ status: 'ready', checks: { log: { isOk: true, ms: 1 }, draining: { isOk: true } } }]
    },
    503: {
      ...readiness,
      description: 'The process should not receive clients: the log is unavailable, or the process is shutting down'
    }
  }
}

/** `GET /healthz`: the process is alive. `GET /readyz`: whether it should receive clients, 200 or 503, and why. */
export function healthRoutes (app: FastifyInstance, { log, drain, problem }: HealthInit): void {
  const checkLog = createLogCheck(log)
  const config = { isPublic: true }
  app.get('/healthz', { schema: healthSchema, config }, async () => ({ status: 'ok' }))
  const options = { schema: readySchema, config }
  app.get<{ Querystring: { check?: string } }>('/readyz', options, async (request, reply) => {
    const { check } = request.query
    const checks: Record<string, Check> = {
      log: withProblem(await checkLog(), log, problem),
      ...canaryCheck(log),
      draining: { isOk: !drain.isDraining }
    }
    const isReady = Object.entries(checks).every(([name, { isOk }]) => isOk || (check ?? name) !== name)
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not ready', checks })
  })
}

/** A log on the network reports rejected writes itself, in `canary`. */
function withProblem (check: Check, { health }: TopicLog, { text }: AppendProblem): Check {
  return health || text === undefined ? check : { problem: text, ...check }
}

/** Sends a real query to the log; concurrent callers share the result, so that an outage causes no additional load. */
function createLogCheck (log: TopicLog): () => Promise<Check> {
  let asking: Promise<Check> | undefined
  return () => {
    asking ??= askLog(log).finally(() => { asking = undefined })
    return asking
  }
}

function askLog (log: TopicLog): Promise<Check> {
  const askedAt = performance.now()
  const over = new AbortController()
  const answered = Promise.race([log.locate(ASKED_TOPIC, { ms: 0, n: 0 }), tooLate(over.signal)])
  return answered.then(
    () => ({ isOk: true, ms: Math.round(performance.now() - askedAt) }),
    (error: Error) => ({ isOk: false, problem: error.message })
  ).finally(() => over.abort())
}

function tooLate (isOver: AbortSignal): Promise<never> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the log has not responded for ${LOG_TIMEOUT_MS} ms`)),
      LOG_TIMEOUT_MS
    )
    isOver.addEventListener('abort', () => clearTimeout(timer))
  })
}

/**
 * Only a log on the network has a probe. Missing Redis permissions, such as access to a channel, are detected here
 * first.
 */
function canaryCheck ({ health }: TopicLog): { canary?: Check } {
  if (!health) return {}
  const { isHealthy, canaryAgeMs, problem } = health
  return { canary: { isOk: isHealthy, ageMs: canaryAgeMs, ...(problem !== undefined && { problem }) } }
}
