import type { FastifyInstance, FastifyReply, RouteOptions } from 'fastify'
import { isErrorStatusToRetry } from './error-report.ts'
import { isEventSource } from './negotiate.ts'
import { MAX_RETRY_MS } from './wire.ts'

type ErrorHandler = NonNullable<RouteOptions['errorHandler']>

/**
 * `retry:` of a rejection that is meant to pass is drawn from 1 to 2 times this, so that clients do not return
 * together.
 */
const REJECTION_RETRY_MS = 2_000

/** When a client that was rejected for now may come back, in ms: after `retryAfterMs`, and not together with others. */
export function retryMsAfter (retryAfterMs = 0): number {
  return Math.min(
    MAX_RETRY_MS,
    Math.round(retryAfterMs + REJECTION_RETRY_MS * ((retryAfterMs > 0 ? 0 : 1) + Math.random()))
  )
}

/** What is done with the stream of a reply. */
export interface StreamEnds {
  /** Gives up a stream that has sent nothing. */
  abandon: (reply: FastifyReply) => void
  /** Answers with a stream that asks the client to come back. */
  sendAway: (reply: FastifyReply, error: unknown, retryMs: number) => void
}

/**
 * Puts an error handler on a route that streams. A hook that says "not now" (429 or 503: a rate limit, pressure, a
 * session store that is away, a handler timeout) would end an EventSource for good; such a client gets 200, `retry:`
 * and the end instead. All else goes to the error handler of the route or of its scope.
 */
export function keepEventSources (app: FastifyInstance, route: RouteOptions, { abandon, sendAway }: StreamEnds): void {
  const { errorHandler } = route
  const handler: ErrorHandler = function (this: ThisParameterType<ErrorHandler>, error, request, reply) {
    abandon(reply)
    if (isErrorStatusToRetry(error, reply.statusCode) && isEventSource(request)) {
      return sendAway(reply, error, retryMsAfter(retryAfterMs(reply)))
    }
    if (errorHandler !== undefined) return errorHandler.call(this, error, request, reply)
    // An error that is thrown here goes to the error handler of the scope; anything else would be sent as it is.
    if (error instanceof Error) throw error
    return app.errorHandler(error, request, reply)
  }
  route.errorHandler = handler
}

/** `Retry-After` of the reply: seconds or a date; 0 where there is none. */
function retryAfterMs (reply: FastifyReply): number {
  const value = String(reply.getHeader('retry-after') ?? '')
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return ms > 0 ? ms : 0
}
