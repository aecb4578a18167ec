import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { addAdmission } from '../reply/admission.ts'
import { isErrorStatusToRetry } from '../reply/error-report.ts'
import { errors } from '../reply/errors.ts'
import { show } from '../common/show.ts'
import { asksForSse } from '../reply/negotiate.ts'
import { StreamPayload } from '../reply/payload.ts'
import type { Authenticator } from './authenticator.ts'
import { TOKEN_PARAMETER } from './one-time/one-time-tokens.ts'

const kSeen = Symbol('fastify-resumable-sse.grant')

interface GrantConfig { grant?: unknown, [kSeen]?: true }

/** Puts the authenticator in front of every route that wants a grant, before its body is read. */
export function guardRoutes (app: FastifyInstance, authenticator: Authenticator): void {
  const guard = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> => authenticate(authenticator, request, reply)
  app.addHook('onRoute', route => {
    const config: GrantConfig = { ...route.config, [kSeen]: true }
    route.config = config as NonNullable<RouteOptions['config']>
    const hooks = [route.onRequest ?? []].flat()
    // In front of the hooks of the route. A HEAD route that Fastify makes of a GET route has it already.
    if (wantsGrant(route) && !hooks.includes(guard)) route.onRequest = [guard, ...hooks]
  })
  app.addHook('onRequest', async (request, reply) => {
    refuseUnseen(request)
    // A URL with a credential is not for the Referer of whatever comes next.
    if (isObject(request.query) && TOKEN_PARAMETER in request.query) reply.header('referrer-policy', 'no-referrer')
  })
  app.addHook('onSend', async (request, reply, payload) => {
    // A stream spends by itself, when its turn has come; HEAD gets nothing, and a refusal may be tried again.
    const isAnswer = reply.statusCode < 400 && request.method !== 'HEAD' && !(payload instanceof StreamPayload)
    if (isAnswer) await authenticator.spend(request, reply)
    return payload
  })
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function wantsGrant (route: RouteOptions): boolean {
  const given = route.grant ?? route.config?.grant ?? false
  if (typeof given !== 'boolean') throw new errors.FST_SSE_BAD_OPTION(`route ${String(route.method)} ${route.url}`, 'grant', 'true or false', show(given))
  return given
}

/**
 * A route added before this plugin is registered (or while nobody waits for that) escapes its hook, and with it what it says
 * of grants. No stream leaves it.
 */
function refuseUnseen (request: FastifyRequest): void {
  const { config, url } = request.routeOptions
  if ((config as GrantConfig)[kSeen] || request.is404) return
  const refusal = new errors.FST_SSE_BAD_OPTION(`route ${url}`, 'grant', 'given on a route added after `await app.register(auth)`', 'a route added before')
  if ((config as GrantConfig).grant !== undefined) throw refusal
  addAdmission(request, { check: () => { throw refusal } })
}

async function authenticate (authenticator: Authenticator, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> {
  try {
    request.grant = await authenticator.authenticate(request)
  } catch (error) {
    if (isRefusal(error, 401)) reply.header('www-authenticate', 'Bearer')
    // What is meant to pass must not end an EventSource.
    if (!isErrorStatusToRetry(error) || request.method === 'HEAD' || !asksForSse(request.headers.accept)) throw error
    return reply.sse(() => { throw error })
  }
}

function isRefusal (error: unknown, status: number): boolean {
  return isObject(error) && 'statusCode' in error && error.statusCode === status
}
