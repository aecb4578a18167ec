import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { markLive, unmarkLive } from '../http/bodies/live-requests.ts'
import { whenOver } from '../http/connections/when-over.ts'
import { errors } from '../errors.ts'
import { publisherOf } from '../routes/publish-rate.ts'
import { LiveBody } from './live-body.ts'
import type { LiveBodyInit } from './live-body.ts'
import type { LiveBudgets } from './live-budgets.ts'
import type { LiveLimits } from './live-limits.ts'

/** How long a client that has its response may go on sending before its connection is closed, in ms. */
const LINGER_MS = 5_000
/** The longest delay of a Node timer; credentials that are valid for longer outlive any body. */
const MAX_TIMER_MS = 2_147_483_647

export interface LiveRoutesInit extends Omit<LiveBodyInit, 'budget'> { budgets: LiveBudgets }

export interface LiveInit extends LiveRoutesInit {
  /** The bodies that are being received, so that they end when the service closes. */
  bodies: Set<LiveBody>
  limits: LiveLimits
}

/**
 * Lets the body of a request last: exempts it from the time-outs of requests and of silent connections, and ends it
 * with its credentials instead: when they expire or are revoked. Returns the body. Throws what `LiveLimits` throws.
 */
export function openLiveBody (
  request: FastifyRequest,
  reply: FastifyReply,
  payload: RequestPayload,
  { bodies, limits, budgets, ...init }: LiveInit
): LiveBody {
  const { raw } = request
  const publisher = publisherOf(request)
  const leave = limits.take(publisher)
  const { budget, close } = budgets.open(publisher)
  const body = new LiveBody(payload, request, { ...init, budget })
  bodies.add(body)
  markLive(raw)
  raw.socket.setTimeout(0)
  const stopWatching = watchGrant(request, error => body.interrupt(error))
  reply.raw.once('finish', () => { discardRest(request, reply) })
  whenOver(reply, () => {
    stopWatching()
    leave()
    bodies.delete(body)
    body.release()
    close()
  })
  return body
}

/**
 * Calls back when the grant of a request expires or is revoked. Returns a function that stops watching. Without
 * authentication there is no grant.
 */
function watchGrant ({ grant, server }: FastifyRequest, onOver: (error: Error) => void): () => void {
  if (!grant) return () => {}
  const stop = server.auth.onRevoked(grant, () => onOver(new errors.SERVICE_PRODUCER_REVOKED()))
  const leftMs = (grant.expiresAtMs ?? Infinity) - Date.now()
  const expire = (): void => { onOver(new errors.SERVICE_PRODUCER_EXPIRED()) }
  const timer = leftMs > MAX_TIMER_MS ? undefined : setTimeout(expire, leftMs)
  return () => {
    stop()
    clearTimeout(timer)
  }
}

/**
 * The response is complete, and the rest of the body has no reader. A client that notices stops sending; the connection
 * of any other one is closed, but not at once: it would lose the response.
 */
function discardRest ({ raw }: FastifyRequest, reply: FastifyReply): void {
  const { stream } = reply.raw as { stream?: ServerHttp2Stream }
  unmarkLive(raw)
  if (raw.readableEnded) return
  raw.unpipe()
  raw.resume()
  const close = (): void => { if (stream) stream.close(constants.NGHTTP2_NO_ERROR); else raw.socket.destroy() }
  const timer = setTimeout(close, LINGER_MS).unref()
  raw.once('end', () => { clearTimeout(timer) })
}
