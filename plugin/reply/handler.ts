import type { FastifyReply, RouteOptions } from 'fastify'
import { isThenable } from './source-kind.ts'

type Handler = RouteOptions['handler']

/** What becomes of the handler that has made a stream. */
export interface HandlerListener {
  /** It has thrown or rejected. */
  failed: (error: unknown) => void
  /** It was async and has returned nothing; Fastify would answer with an empty body. */
  returnedNothing: () => void
}

const listeners = new WeakMap<FastifyReply, HandlerListener>()

/** Tells the listener, in place of Fastify, how the handler of this request ends. */
export function watchHandlerOf (reply: FastifyReply, listener: HandlerListener): void {
  listeners.set(reply, listener)
}

/**
 * Wraps the handler of a route, so that what it throws, or rejects with, reaches the stream that it has made: once
 * bytes are on their way Fastify only logs it, and the stream would stay open for as long as its client does. Fastify
 * has no hook for that moment; its diagnostics channel would slow down every app of the process. A handler without a
 * stream is left alone.
 */
export function watchHandler (route: RouteOptions): void {
  const { handler } = route
  const wrapped: Handler = function (request, reply) {
    try {
      const result: unknown = handler.call(this, request, reply)
      // The reply itself can be awaited, too.
      if (result === reply || !isThenable(result)) return result
      return Promise.resolve(result).then(value => checkReturned(reply, value), (error: unknown) => tell(reply, error))
    } catch (error) {
      return tell(reply, error)
    }
  }
  // Tracing names its spans after it.
  Object.defineProperty(wrapped, 'name', { value: handler.name })
  route.handler = wrapped
}

function checkReturned (reply: FastifyReply, value: unknown): unknown {
  const listener = value === undefined ? listeners.get(reply) : undefined
  if (listener === undefined) return value
  listener.returnedNothing()
  return reply
}

/** Returns the reply, as a handler that streams does; throws the error where no stream listens for it. */
function tell (reply: FastifyReply, error: unknown): FastifyReply {
  const listener = listeners.get(reply)
  if (listener === undefined) throw error
  listener.failed(error)
  return reply
}
