import type { ServerResponse } from 'node:http'
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'

/** The one place that knows how HTTP/1.1 and HTTP/2 responses differ. */

/** What Fastify hands out as `reply.raw`: Node's response, or over HTTP/2 its compatible twin, which has a `stream`. */
export type RawResponse = ServerResponse & { readonly stream?: ServerHttp2Stream | null }

function isHttp2 (res: RawResponse): boolean {
  return 'stream' in res
}

/** True when the client is gone. `res.destroyed` is undefined on HTTP/2, where the stream knows; and may have been let go. */
export function isGone (res: RawResponse): boolean {
  return isHttp2(res) ? res.stream?.destroyed ?? true : res.destroyed
}

/** True when the response stands in line behind another one on the same connection (HTTP/1.1 pipelining). */
export function isQueued (res: RawResponse): boolean {
  return !isHttp2(res) && res.socket === null && !res.destroyed
}

/** Cuts the connection (HTTP/1.1) or the stream (HTTP/2) with what is still unsent. */
export function cut (res: RawResponse): void {
  if (isHttp2(res)) res.stream?.close(constants.NGHTTP2_CANCEL)
  else res.destroy()
}

/**
 * Calls back when no byte has left for `ms`; Node looks at the write queue, so a slow client that still drains is left alone.
 * 0 turns it off. Does nothing where there is no real socket.
 */
export function onStall (res: RawResponse, ms: number, listener: () => void): void {
  const timed = isHttp2(res) ? res.stream : res.socket
  if (typeof timed?.setTimeout !== 'function') return
  timed.setTimeout(ms)
  // On HTTP/1.1 the server turns the socket's event into the response's, and destroys the socket only where nobody listens.
  const emitter = isHttp2(res) ? timed : res
  emitter.removeListener('timeout', listener)
  if (ms > 0) emitter.on('timeout', listener)
}
