import type { FastifyInstance, RouteOptions } from 'fastify'
import { reject, rejectionOf } from './rejection.ts'
import { abandonStream } from './reply-state.ts'

type ErrorHandler = NonNullable<RouteOptions['errorHandler']>

/**
 * Adds an error handler to a route that streams. A hook that rejects a request temporarily (429 or 503: a rate limit,
 * load shedding, an unavailable session store, a handler timeout) would end an EventSource permanently; such a client
 * gets 200, `retry:` and the end of the stream instead. All other errors are passed to the error handler of the route
 * or of its scope.
 */
export function keepEventSources (app: FastifyInstance, route: RouteOptions): void {
  const { errorHandler } = route
  const handler: ErrorHandler = function (this: ThisParameterType<ErrorHandler>, error, request, reply) {
    abandonStream(reply)
    const rejection = rejectionOf(reply, error)
    if (rejection) return reject(reply, reply.code(200).sse(), error, rejection)
    if (errorHandler !== undefined) return errorHandler.call(this, error, request, reply)
    // An error thrown here is passed to the error handler of the scope; any other value would be sent as it is.
    if (error instanceof Error) throw error
    return app.errorHandler(error, request, reply)
  }
  route.errorHandler = handler
}
