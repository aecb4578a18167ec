import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SseStream } from './stream.ts'

/**
 * A say in whether a stream may begin, for whoever authenticates requests or counts streams. Asked in this order:
 *
 * ```
 *   reply.sse(source) ─▶ check ─▶ onSend hooks, headers ─▶ source.open ─▶ admit ─▶ run the source ─▶ first byte
 *                                                              └▶ check
 * ```
 */
export interface Admission {
  /**
   * Called at once with the topics that the source names (none for most sources), and again whenever the stream is to
   * carry topics, see `SseStream.checkTopics()`. Throws to reject the stream; nothing may be spent here.
   */
  check?: (topics: readonly string[]) => void
  /**
   * Called when all else has been checked and nothing was sent yet; never for HEAD, and not while the response waits
   * behind another one of a pipelined connection. May add headers to `reply.raw`. A rejection goes to Fastify's error
   * handler.
   */
  admit?: (stream: SseStream, reply: FastifyReply) => Promise<void>
}

const admissions = new WeakMap<FastifyRequest, Admission[]>()

/** Adds one; they are asked in the order in which they were added. */
export function addAdmission (request: FastifyRequest, admission: Admission): void {
  const known = admissions.get(request)
  if (known) known.push(admission)
  else admissions.set(request, [admission])
}

/** Throws what one of them throws. */
export function checkAdmission (request: FastifyRequest, topics: readonly string[]): void {
  for (const admission of admissions.get(request) ?? []) admission.check?.(topics)
}

/** Settles when all admit the stream; rejects with what the first one rejects with, and asks no further one then. */
export async function admitStream (stream: SseStream, reply: FastifyReply): Promise<void> {
  for (const admission of admissions.get(reply.request) ?? []) await admission.admit?.(stream, reply)
}
