import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** Callbacks for the responses of a connection that are not over yet. */
const waiting = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls back once when a response is over: it was sent, or its client has disconnected. Node closes only the response
 * whose turn it is; responses that wait behind it (HTTP/1.1 pipelining) emit nothing when their connection closes.
 */
export function whenOver ({ raw, request }: FastifyReply, callback: () => void): void {
  // An HTTP/2 stream does not wait for other streams.
  const stream = (raw as { stream?: ServerHttp2Stream }).stream
  const { socket } = request.raw
  // The client disconnected before this call.
  if ((stream ?? socket).destroyed) return callback()
  const callbacks = stream ? new Set<() => void>() : callbacksOf(socket)
  const over = (): void => { if (callbacks.delete(over)) callback() }
  callbacks.add(over)
  raw.once('close', over)
}

/** One listener per connection, however many responses are waiting on it. */
function callbacksOf (socket: Socket): Set<() => void> {
  const known = waiting.get(socket)
  if (known) return known
  const callbacks = new Set<() => void>()
  waiting.set(socket, callbacks)
  socket.once('close', () => { for (const over of callbacks) over() })
  return callbacks
}
