import type { FastifyInstance, FastifyReply } from 'fastify'
import { decorateListener } from './handler.ts'
import { decorateAdmissions } from './request/admission.ts'
import { isEventSource } from './request/negotiate.ts'

/** What `reply.sse()` has made of a reply. */
interface StartedStream {
  /** Undefined once bytes were sent. */
  readonly payload: { abandon: () => void } | undefined
}

const STREAM = Symbol('fastify-resumable-sse.stream')
const MAY_RETRY = Symbol('fastify-resumable-sse.may-retry')

type StreamingReply = FastifyReply & { [STREAM]?: StartedStream | null, [MAY_RETRY]?: boolean }

/** Declares the properties in which requests and replies keep their state. */
export function decorateState (app: FastifyInstance): void {
  app.decorateReply(STREAM, null)
  app.decorateReply(MAY_RETRY, true)
  decorateListener(app)
  decorateAdmissions(app)
}

/** True while a reply is turned into a stream. */
export function isStarted (reply: StreamingReply): boolean { return Boolean(reply[STREAM]) }

/** `null` when the reply may be used for another response. */
export function setStream (reply: StreamingReply, stream: StartedStream | null): void { reply[STREAM] = stream }

/** Abandons the stream of a reply, if there is one that has sent nothing, in favour of another response. */
export function abandonStream (reply: StreamingReply): void {
  reply[STREAM]?.payload?.abandon()
  setStream(reply, null)
}

/** To be called if the client is not an EventSource, whatever its `Accept` header says. */
export function forbidRetry (reply: StreamingReply): void { reply[MAY_RETRY] = false }

/**
 * True if the client would treat a status other than 200 as permanent, so that a temporary error must be sent as a
 * stream.
 */
export function asksForRetry (reply: StreamingReply): boolean {
  return isEventSource(reply.request) && reply[MAY_RETRY] !== false
}
