import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { constants } from 'node:http2'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'

/** The one place that knows how HTTP/1.1 and HTTP/2 responses differ. */

/** What Fastify hands out as `reply.raw`: Node's response, or over HTTP/2 its compatible twin, which has a `stream`. */
export type RawResponse = ServerResponse & { readonly stream?: ServerHttp2Stream }

/**
 * True when the client is gone. `res.destroyed` is undefined on HTTP/2, where the stream knows. A response goes with
 * its connection, a moment before it hears of it; one in line behind another, with that it came by.
 */
export function isGone (res: RawResponse): boolean {
  if (res.stream) return res.stream.destroyed
  return res.destroyed || (res.socket ?? res.req.socket).destroyed
}

/** True when the response stands in line behind another one on the same connection (HTTP/1.1 pipelining). */
export function isQueued (res: RawResponse): boolean {
  return !res.stream && res.socket === null && !res.destroyed
}

const lines = new WeakMap<Socket, Set<RawResponse>>()

/**
 * Closes a response that stands in line when its connection goes: Node closes only the one whose turn it is, and the
 * others would wait for ever. One listener per connection, however many stand in line.
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
 * Cuts the connection (HTTP/1.1) or the stream (HTTP/2) with what is still unsent. A frozen HTTP/2 peer takes no
 * RST_STREAM either, so its connection goes too when it answers no ping within `patienceMs`.
 */
export function cut (res: RawResponse, patienceMs: number): void {
  const { stream } = res
  if (!stream) {
    res.destroy()
    return
  }
  const { session } = stream
  stream.close(constants.NGHTTP2_CANCEL)
  stream.destroy()
  const timer = setTimeout(() => destroyConnection(session), patienceMs).unref()
  session?.ping(() => clearTimeout(timer))
}

/**
 * Destroys a session at once: `session.destroy()` waits for the peer to take what is unsent, and
 * `session.socket.destroy()` is forbidden.
 */
export function destroyConnection (session: Http2Session | undefined): void {
  // A session that is over has no socket any more, whatever its type says. How the socket ends does not matter.
  void Promise.allSettled([session?.socket?.[Symbol.asyncDispose]()])
}
