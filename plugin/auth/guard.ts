import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { addAdmission } from '../reply/admission.ts'
import { isErrorStatusToRetry } from '../reply/error-report.ts'
import { errors } from '../reply/errors.ts'
import { show } from '../common/show.ts'
import { asGuard, asksForGrant, checkGrantRoutes } from '../reply/grant-routes.ts'
import { asksForSse } from '../reply/negotiate.ts'
import { StreamPayload } from '../reply/payload.ts'
import type { Authenticator } from './authenticator.ts'
import { TOKEN_PARAMETER } from './one-time/one-time-tokens.ts'

const kSeen = Symbol('fastify-resumable-sse.grant')

interface GrantConfig { grant?: unknown, [kSeen]?: true }

/** Puts the authenticator in front of every route that asks for a grant, before its body is read. */
export function guardRoutes (app: FastifyInstance, authenticator: Authenticator): void {
  const isComplete = checkGrantRoutes(app)
  const guard = asGuard((request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> => authenticate(authenticator, request, reply))
  app.addHook('onRoute', route => {
    const config: GrantConfig = { ...route.config, [kSeen]: true }
    route.config = config as NonNullable<RouteOptions['config']>
    const hooks = [route.onRequest ?? []].flat()
    // In front of the hooks of the route. A HEAD route that Fastify makes of a GET route has it already.
    if (asksForGrant(route) && !hooks.includes(guard)) route.onRequest = [guard, ...hooks]
    checkGrantOption(route)
  })
  app.addHook('onRequest', async (request, reply) => {
    refuseUnseen(request, isComplete)
    // A URL with a credential must not travel on in a Referer.
    if (isObject(request.query) && TOKEN_PARAMETER in request.query) reply.header('referrer-policy', 'no-referrer')
  })
  if (authenticator.canSpend) spendWithAnswers(app, authenticator)
}

/** A one-time token is spent by the answer that it was used for. A stream spends it by itself, when its turn has come. */
function spendWithAnswers (app: FastifyInstance, authenticator: Authenticator): void {
  app.addHook('onSend', async (request, reply, payload) => {
    // From here on it is Fastify or the stream who hijacks.
    delete (reply as { hijack?: unknown }).hijack
    // HEAD gets nothing, and what was refused may be tried again.
    const isAnswer = reply.statusCode < 400 && request.method !== 'HEAD' && !(payload instanceof StreamPayload)
    if (isAnswer) await authenticator.spend(request, reply)
    return payload
  })
}

/** A handler that hijacks the reply skips onSend: its token is spent at that moment. Whoever was too late is cut off. */
function spendWhenHijacked (authenticator: Authenticator, request: FastifyRequest, reply: FastifyReply): void {
  const { hijack } = reply
  reply.hijack = () => {
    authenticator.spend(request, reply).catch((err: unknown) => {
      request.log.info({ err }, 'a hijacked reply was cut off: its one-time token could not be spent')
      reply.raw.destroy()
    })
    return hijack.call(reply)
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function checkGrantOption (route: RouteOptions): void {
  const given: unknown = route.grant ?? route.config?.grant ?? false
  if (typeof given !== 'boolean') throw new errors.FST_SSE_BAD_OPTION(`route ${String(route.method)} ${route.url}`, 'grant', 'true or false', show(given))
}

/**
 * A route added before this plugin was registered escapes its hook. No stream leaves it. Where the app was created before this
 * package was loaded nobody knows whether the route asked for a grant: then it answers only if its `config` says that it does not.
 */
function refuseUnseen (request: FastifyRequest, isComplete: boolean): void {
  const { config, url } = request.routeOptions
  const { [kSeen]: isSeen, grant } = config as GrantConfig
  if (isSeen || request.is404) return
  const refusal = new errors.FST_SSE_BAD_OPTION(`route ${url}`, 'grant', 'given on a route added after `await app.register(auth)`, or false in its config', 'a route added before')
  if (grant === undefined ? !isComplete : grant !== false) throw refusal
  addAdmission(request, { check: () => { throw refusal } })
}

async function authenticate (authenticator: Authenticator, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> {
  try {
    request.grant = await authenticator.authenticate(request)
    if (request.grant.source === 'token') spendWhenHijacked(authenticator, request, reply)
  } catch (error) {
    // RFC 6750, 3.1: no error code where nothing was presented.
    if (isRefusal(error, 401)) reply.header('www-authenticate', /^bearer\b/i.test(request.headers.authorization ?? '') ? 'Bearer error="invalid_token"' : 'Bearer')
    // What is meant to pass must not end an EventSource.
    if (!isErrorStatusToRetry(error) || request.method === 'HEAD' || !asksForSse(request.headers.accept)) throw error
    return reply.sse(() => { throw error })
  }
}

function isRefusal (error: unknown, status: number): boolean {
  return isObject(error) && 'statusCode' in error && error.statusCode === status
}
