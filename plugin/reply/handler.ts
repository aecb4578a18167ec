import type { FastifyInstance, FastifyReply, RouteOptions } from 'fastify'
import { errors } from './errors.ts'
import { isThenable } from './source-kind.ts'
import { ReplyStream } from './stream/reply-stream.ts'

type Handler = RouteOptions['handler']

/** Is notified of how the handler that created a stream ends. */
export interface HandlerListener {
  /** The handler threw or rejected. */
  failed: (error: unknown) => void
  /** The handler was async and returned nothing; Fastify would respond with an empty body. */
  returnedNothing: () => void
}

const LISTENER = Symbol('fastify-resumable-sse.handler-listener')

type WatchedReply = FastifyReply & { [LISTENER]?: HandlerListener | null }

/** Declares the property that holds the listener of a reply. */
export function decorateListener (app: FastifyInstance): void {
  app.decorateReply(LISTENER, null)
}

/** Notifies the listener, instead of Fastify, of how the handler of this request ends. */
export function watchHandlerOf (reply: WatchedReply, listener: HandlerListener): void {
  reply[LISTENER] = listener
}

/**
 * Wraps the handler of a route, so that its exception or rejection reaches the stream that it created: once bytes have
 * been sent Fastify only logs it, and the stream would stay open for as long as the client does. Fastify has no hook
 * for this, and its diagnostics channel would slow down every app in the process. A handler without a stream is not
 * affected.
 */
export function watchHandler (route: RouteOptions): void {
  const { handler } = route
  const wrapped: Handler = function (request, reply) {
    try {
      const result: unknown = handler.call(this, request, reply)
      if (result === reply) return returned(reply)
      if (!isThenable(result)) return checkNoStream(reply, result)
      return Promise.resolve(result).then(value => checkReturned(reply, value), (error: unknown) => tell(reply, error))
    } catch (error) {
      return tell(reply, error)
    }
  }
  // Tracing tools name spans after the function.
  Object.defineProperty(wrapped, 'name', { value: handler.name })
  route.handler = wrapped
}

/**
 * The reply itself can be awaited, and Fastify does so with listeners that last as long as the response. Where a stream
 * has taken the reply there is nothing that it would wait for.
 */
function returned (reply: FastifyReply): FastifyReply | undefined {
  return takeListener(reply) === undefined ? reply : undefined
}

function checkReturned (reply: FastifyReply, value: unknown): unknown {
  if (value instanceof ReplyStream) return checkNoStream(reply, value)
  const listener = takeListener(reply)
  if (value !== undefined || listener === undefined) return value
  listener.returnedNothing()
  return reply
}

/** The handler returned the stream itself, or `reply.sse(source)` with a source that is undefined by mistake. */
function checkNoStream (reply: FastifyReply, value: unknown): unknown {
  if (!(value instanceof ReplyStream)) return value
  return tell(
    reply,
    new errors.FST_SSE_BAD_SOURCE(
      'undefined, and the handler returned its own stream: pass a source, or end the handler with `return reply`'
    )
  )
}

/** The listener, which is removed: the handler has ended, and there is nothing else to notify it of. */
function takeListener (reply: WatchedReply): HandlerListener | undefined {
  const listener = reply[LISTENER] ?? undefined
  reply[LISTENER] = null
  return listener
}

/** Returns the reply, as a streaming handler does; throws the error if there is no stream to receive it. */
function tell (reply: FastifyReply, error: unknown): FastifyReply {
  const listener = takeListener(reply)
  if (listener === undefined) throw error
  listener.failed(error)
  return reply
}
