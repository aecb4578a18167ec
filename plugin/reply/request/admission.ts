import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { SseStream } from '../stream/sse-stream.ts'
import type { StreamOwner } from '../stream/stream-init.ts'

/**
 * Lets authentication and stream limits decide whether a stream may start. Called in this order:
 *
 * ```
 *   reply.sse(source) ─▶ check ─▶ onSend hooks, headers ─▶ source.open ─▶ admit ─▶ run the source ─▶ first byte
 *                                                              └▶ check
 * ```
 */
export interface Admission {
  /** The owner of the stream, see `SseStream.owner`. */
  owner?: StreamOwner
  /**
   * Called immediately with the topics that the source names (none for most sources), and again whenever the stream
   * gets topics, see `SseStream.checkTopics()`. Throws to reject the stream; must not spend anything.
   */
  check?: (topics: readonly string[]) => void
  /**
   * Called when everything else has been checked and nothing was sent yet; never for HEAD, and not while the response
   * waits behind another one of a pipelined connection. May add headers to `reply.raw`. A rejection is passed to
   * Fastify's error handler.
   */
  admit?: (stream: SseStream, reply: FastifyReply) => Promise<void>
}

const ADMISSIONS = Symbol('fastify-resumable-sse.admissions')

type AdmittedRequest = FastifyRequest & { [ADMISSIONS]?: Admission[] | null }

/** Declares the property that holds the admissions of a request. */
export function decorateAdmissions (app: FastifyInstance): void {
  app.decorateRequest(ADMISSIONS, null)
}

function admissionsOf (request: AdmittedRequest): readonly Admission[] { return request[ADMISSIONS] ?? [] }

/** Adds an admission; they are called in the order in which they were added. */
export function addAdmission (request: AdmittedRequest, admission: Admission): void {
  request[ADMISSIONS] = [...admissionsOf(request), admission]
}

/** The owner given by the first admission that has one; undefined if none does. */
export function ownerOf (request: FastifyRequest): StreamOwner | undefined {
  return admissionsOf(request).find(({ owner }) => owner)?.owner
}

/** Throws the error of the first check that fails. */
export function checkAdmission (request: FastifyRequest, topics: readonly string[]): void {
  for (const admission of admissionsOf(request)) admission.check?.(topics)
}

/** Settles when all admissions accept the stream; rejects with the first error, without calling further ones. */
export async function admitStream (stream: SseStream, reply: FastifyReply): Promise<void> {
  for (const admission of admissionsOf(reply.request)) await admission.admit?.(stream, reply)
}
