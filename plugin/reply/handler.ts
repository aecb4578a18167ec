import type { FastifyReply, RouteOptions } from 'fastify'
import { isThenable } from './source-kind.ts'

type Handler = RouteOptions['handler']

const listeners = new WeakMap<FastifyReply, (error: unknown) => void>()

/** Gives the errors of this request's handler to the listener, from here on and in place of Fastify. */
export function onHandlerFailure (reply: FastifyReply, listener: (error: unknown) => void): void {
  listeners.set(reply, listener)
}

/**
 * Wraps the handler of a route, so that what it throws, or rejects with, reaches the stream that it has made: once bytes
 * are on their way Fastify only logs it, and the stream would stay open for as long as its client does. Fastify has no hook for
 * that moment; its diagnostics channel would slow down every app of the process. A handler without a stream is left alone.
 */
export function watchHandler (route: RouteOptions): void {
  const { handler } = route
  const wrapped: Handler = function (request, reply) {
    try {
      const result: unknown = handler.call(this, request, reply)
      // The reply itself can be awaited, too.
      return result !== reply && isThenable(result) ? Promise.resolve(result).catch((error: unknown) => tell(reply, error)) : result
    } catch (error) {
      return tell(reply, error)
    }
  }
  // Tracing names its spans after it.
  Object.defineProperty(wrapped, 'name', { value: handler.name })
  route.handler = wrapped
}

/** Returns the reply, as a handler that streams does; throws the error where no stream listens for it. */
function tell (reply: FastifyReply, error: unknown): FastifyReply {
  const listener = listeners.get(reply)
  if (listener === undefined) throw error
  listener(error)
  return reply
}
