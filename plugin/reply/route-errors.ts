import type { FastifyInstance, FastifyReply, RouteOptions } from 'fastify'
import { isErrorStatusToRetry } from './error-report.ts'
import { MAX_RETRY_MS } from './wire.ts'

type ErrorHandler = NonNullable<RouteOptions['errorHandler']>

/**
 * `retry:` of a temporary rejection is drawn from 1 to 2 times this value, so that clients do not all return at once.
 */
const REJECTION_RETRY_MS = 2_000

/**
 * When a client that was temporarily rejected may return, in ms: after `retryAfterMs`, and not at the same time as
 * others.
 */
export function retryMsAfter (retryAfterMs = 0): number {
  return Math.min(
    MAX_RETRY_MS,
    Math.round(retryAfterMs + REJECTION_RETRY_MS * ((retryAfterMs > 0 ? 0 : 1) + Math.random()))
  )
}

/** How the stream of a reply can end because of an error. */
export interface StreamEnds {
  /** True if the client would treat a status other than 200 as permanent. */
  asksForRetry: (reply: FastifyReply) => boolean
  /** Abandons a stream that has sent nothing. */
  abandon: (reply: FastifyReply) => void
  /** Responds with a stream that asks the client to reconnect later. */
  sendAway: (reply: FastifyReply, error: unknown, retryMs: number) => void
}

/**
 * Adds an error handler to a route that streams. A hook that rejects a request temporarily (429 or 503: a rate limit,
 * load shedding, an unavailable session store, a handler timeout) would end an EventSource permanently; such a client
 * gets 200, `retry:` and the end of the stream instead. All other errors are passed to the error handler of the route
 * or of its scope.
 */
export function keepEventSources (app: FastifyInstance, route: RouteOptions, ends: StreamEnds): void {
  const { abandon, asksForRetry, sendAway } = ends
  const { errorHandler } = route
  const handler: ErrorHandler = function (this: ThisParameterType<ErrorHandler>, error, request, reply) {
    abandon(reply)
    if (isErrorStatusToRetry(error, reply.statusCode) && asksForRetry(reply)) {
      return sendAway(reply, error, retryMsAfter(retryAfterMs(reply)))
    }
    if (errorHandler !== undefined) return errorHandler.call(this, error, request, reply)
    // An error thrown here is passed to the error handler of the scope; any other value would be sent as it is.
    if (error instanceof Error) throw error
    return app.errorHandler(error, request, reply)
  }
  route.errorHandler = handler
}

/** The `Retry-After` of the reply in ms, from seconds or a date; 0 if there is none. */
function retryAfterMs (reply: FastifyReply): number {
  const value = String(reply.getHeader('retry-after') ?? '')
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return ms > 0 ? ms : 0
}
