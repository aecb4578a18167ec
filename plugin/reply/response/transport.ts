import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { constants } from 'node:http2'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'

/** The type of `reply.raw`: Node's response or, over HTTP/2, its compatible counterpart, which has a `stream`. */
export type RawResponse = ServerResponse & { readonly stream?: ServerHttp2Stream }

const MAX_LISTENERS = 30

function ignore (): void {}

/** Lets a stream add its listeners without a warning, and fail to write without ending the process. */
export function prepareListeners (res: RawResponse): void {
  // Fastify adds listeners each time a reply is awaited, and an error handler may respond with another stream.
  if (res.getMaxListeners() < MAX_LISTENERS) res.setMaxListeners(MAX_LISTENERS)
  // A write may fail because the client is disconnecting; 'close' follows with the reason.
  res.on('error', ignore)
}

/**
 * True if the client is gone. `res.destroyed` is undefined on HTTP/2, where the stream knows. A response ends with its
 * connection, which is known a moment before it emits anything; one that waits behind another ends with the connection
 * on which it arrived.
 */
export function isGone (res: RawResponse): boolean {
  if (res.stream) return res.stream.destroyed
  return res.destroyed || (res.socket ?? res.req.socket).destroyed
}

/** True if the response waits behind another one on the same connection (HTTP/1.1 pipelining). */
export function isQueued (res: RawResponse): boolean {
  return !res.stream && res.socket === null && !res.destroyed
}

let lastHead = ''

/**
 * Lets responses share the text of their heads, which Node keeps for as long as each lasts, as a tree of some 30
 * pieces. To be called when the head is out. The heads of streams differ in their `Date` only, and those with a cookie
 * are nobody else's.
 */
export function shareHead (res: RawResponse): void {
  if (res.hasHeader('set-cookie')) return
  const known = res as { _header?: unknown }
  // Comparing them makes one piece of each.
  if (known._header === lastHead) known._header = lastHead
  else if (typeof known._header === 'string') lastHead = known._header
}

const lines = new WeakMap<Socket, Set<RawResponse>>()

/**
 * Closes a waiting response when its connection closes: Node closes only the one whose turn it is, and the others would
 * wait indefinitely. One listener per connection, however many responses are waiting.
 */
export function closeWithConnection (res: RawResponse): void {
  const line = lineOf(res.req.socket)
  line.add(res)
  res.once('socket', () => line.delete(res))
}

function lineOf (socket: Socket): Set<RawResponse> {
  const known = lines.get(socket)
  if (known) return known
  const line = new Set<RawResponse>()
  lines.set(socket, line)
  socket.once('close', () => { for (const res of line) res.destroy().emit('close') })
  return line
}

/**
 * Closes the connection (HTTP/1.1) or the stream (HTTP/2) and drops unsent bytes. A frozen HTTP/2 peer does not receive
 * RST_STREAM either, so its connection is closed too if it answers no ping within `pingTimeoutMs`.
 */
export function cut (res: RawResponse, pingTimeoutMs: number, code = constants.NGHTTP2_CANCEL): void {
  const { stream } = res
  if (!stream) {
    res.destroy()
    return
  }
  const { session } = stream
  stream.close(code)
  stream.destroy()
  const timer = setTimeout(() => destroyConnection(session), pingTimeoutMs).unref()
  session?.ping(() => clearTimeout(timer))
}

/**
 * How long a response stays open after its last byte before it is broken off, in ms. When the error arrives, browsers
 * and Node's fetch discard what the application has not read yet, so the two must not arrive together.
 */
const LAST_READ_MS = 500

/**
 * Ends a response whose bytes have all been passed to Node, in such a way that its client treats it as incomplete: the
 * connection closes without the last chunk (HTTP/1.1), or the stream is reset with an error (HTTP/2), which clients,
 * including Node's own, do not treat as a normal end. Over HTTP/1.0 the two ends cannot be distinguished.
 */
export function breakOff (res: RawResponse, pingTimeoutMs: number): void {
  const socket = res.socket as Socket | null
  if (res.stream) afterLastRead(() => cut(res, pingTimeoutMs, constants.NGHTTP2_INTERNAL_ERROR))
  // Bytes waiting in the socket are sent first.
  else if (typeof socket?.destroySoon === 'function') afterLastRead(() => socket.destroySoon())
  // If a test injects the request there is no socket, and the test reads the bytes in the next tick.
  else setImmediate(() => { res.destroy() })
}

function afterLastRead (end: () => void): void {
  setTimeout(end, LAST_READ_MS).unref()
}

/**
 * Destroys a session immediately: `session.destroy()` waits for the peer to receive unsent data, and
 * `session.socket.destroy()` is forbidden.
 */
export function destroyConnection (session: Http2Session | undefined): void {
  // A session that has ended has no socket any more, although its type says otherwise. How the socket ends does not
  // matter.
  void Promise.allSettled([session?.socket?.[Symbol.asyncDispose]()])
}
