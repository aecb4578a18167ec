import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { addAdmission } from '../../reply/request/admission.ts'
import { errors } from '../errors.ts'
import { show } from '../../common/show.ts'
import { asGuard, asksForGrant, checkGrantRoutes } from '../../reply/request/grant-routes.ts'
import { rejectionOf } from '../../reply/rejection.ts'
import { StreamPayload } from '../../reply/response/payload.ts'
import type { Authenticator } from '../authenticator.ts'
import type { OneTimeUse } from '../credentials/credential.ts'
import type { Grant } from './grant.ts'
import { TOKEN_PARAMETER } from '../one-time/token-parameter.ts'

const kSeen = Symbol('fastify-resumable-sse.grant')
/**
 * The one-time credential that the response to a request must spend; unlike `request.grant`, handlers cannot reach it.
 */
const kOneTime = Symbol('fastify-resumable-sse.one-time')

interface GrantConfig { grant?: unknown, [kSeen]?: true }
interface GuardedRequest { [kOneTime]: Unspent | undefined | null }

/** Authenticates the requests to every route that asks for a grant, before their body is read. */
export function guardRoutes (app: FastifyInstance, authenticator: Authenticator): void {
  const isComplete = checkGrantRoutes(app)
  const guard = asGuard((request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> => {
    return authenticate(authenticator, request, reply)
  })
  app.decorateRequest(kOneTime, null)
  app.addHook('onRoute', route => {
    const config: GrantConfig = { ...route.config, [kSeen]: true }
    route.config = config as NonNullable<RouteOptions['config']>
    const hooks = [route.onRequest ?? []].flat()
    // Before the hooks of the route. A HEAD route that Fastify derives from a GET route already has the guard.
    if (asksForGrant(route) && !hooks.includes(guard)) route.onRequest = [guard, ...hooks]
    checkGrantOption(route)
  })
  app.addHook('onRequest', async (request, reply) => {
    rejectUnseen(request, isComplete)
    // A URL that contains a credential must not be sent on in a Referer header.
    if (isObject(request.query) && TOKEN_PARAMETER in request.query) reply.header('referrer-policy', 'no-referrer')
  })
  app.addHook('preHandler', async ({ grant }, reply) => { if (grant) checkAgain(authenticator, grant, reply) })
  if (authenticator.hasOneTimeCredentials) spendWithAnswers(app)
}

/** A body may take minutes to arrive, and the grant may be revoked in the meantime. */
function checkAgain (authenticator: Authenticator, grant: Grant, reply: FastifyReply): void {
  try {
    authenticator.checkRevoked(grant)
  } catch (error) {
    reply.header('www-authenticate', challengeFor(reply.request))
    throw error
  }
}

/**
 * A one-time token is spent by the response to the request that presented it. A stream spends it itself, when it
 * starts.
 */
function spendWithAnswers (app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const unspent = (request as unknown as GuardedRequest)[kOneTime]
    if (!unspent) return payload
    // From here on Fastify or the stream hijacks the reply, and writes its head.
    unspent.isAnswered = true
    if (mustSpend(request, reply.statusCode) && !(payload instanceof StreamPayload)) {
      await unspent.oneTime.spend(reply, 'answer')
    }
    return payload
  })
}

/** A HEAD response has no content, and a rejected request may be repeated with the same token. */
function mustSpend ({ method }: FastifyRequest, statusCode: number): boolean {
  return statusCode < 400 && method !== 'HEAD'
}

interface Unspent {
  readonly oneTime: OneTimeUse
  /** True once Fastify sends the response, or the token is spent. */
  isAnswered: boolean
}

/**
 * A handler that hijacks the reply, or writes to `reply.raw` without doing so, bypasses onSend: its token is spent when
 * it begins to write. If that fails, the connection is destroyed.
 */
function spendWhenBypassed (oneTime: OneTimeUse, reply: FastifyReply): Unspent {
  const unspent = { oneTime, isAnswered: false }
  const spend = (): void => {
    if (unspent.isAnswered) return
    unspent.isAnswered = true
    oneTime.spend(reply, 'answer').catch((err: unknown) => {
      reply.log.info({ err }, 'a reply that bypasses Fastify was cut off: its one-time token could not be spent')
      reply.raw.destroy()
    })
  }
  const { raw, hijack } = reply
  reply.hijack = () => {
    spend()
    return hijack.call(reply)
  }
  // Node calls it before whatever is written first.
  const { writeHead } = raw
  raw.writeHead = (statusCode: number, ...rest: never[]) => {
    if (mustSpend(reply.request, statusCode)) spend()
    return writeHead.call(raw, statusCode, ...rest)
  }
  return unspent
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function checkGrantOption (route: RouteOptions): void {
  for (const given of [route.grant, route.config?.grant] as unknown[]) {
    if (given === undefined || typeof given === 'boolean') continue
    const level = `route ${String(route.method)} ${route.url}`
    throw new errors.FST_SSE_BAD_OPTION(level, 'grant', 'true or false', show(given))
  }
}

const SEEN = 'given on a route added after `await app.register(auth)`, or false in its config'

/**
 * A route that was added before this plugin was registered bypasses its hook, so it cannot send streams. If the app was
 * created before this package was loaded, it is unknown whether the route asked for a grant: it responds only if its
 * `config` says that it does not.
 */
function rejectUnseen (request: FastifyRequest, isComplete: boolean): void {
  const { config, url } = request.routeOptions
  const { [kSeen]: isSeen, grant } = config as GrantConfig
  if (isSeen || request.is404) return
  const error = new errors.FST_SSE_BAD_OPTION(`route ${url}`, 'grant', SEEN, 'a route added before')
  if (grant === undefined ? !isComplete : grant !== false) throw error
  addAdmission(request, { check: () => { throw error } })
}

async function authenticate (
  authenticator: Authenticator, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply | void> {
  try {
    const { grant, oneTime } = await authenticator.authenticate(request)
    request.grant = grant
    ;(request as unknown as GuardedRequest)[kOneTime] = oneTime && spendWhenBypassed(oneTime, reply)
  } catch (error) {
    if (hasStatus(error, 401)) reply.header('www-authenticate', challengeFor(request))
    // A temporary error must not make an EventSource give up.
    if (!rejectionOf(reply, error)) throw error
    return reply.code(200).sse(() => { throw error })
  }
}

/** RFC 6750, section 3.1: no error code if no token was presented. */
function challengeFor ({ headers: { authorization = '' } }: FastifyRequest): string {
  return /^bearer\b/i.test(authorization) ? 'Bearer error="invalid_token"' : 'Bearer'
}

function hasStatus (error: unknown, status: number): boolean {
  return isObject(error) && 'statusCode' in error && error.statusCode === status
}
