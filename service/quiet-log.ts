import { LogController } from 'fastify'
import type { FastifyReply, FastifyRequest } from 'fastify'

const UNAVAILABLE = 503

/**
 * Quiet when all is well: no line per request. A client's mistake is for that client (`debug`), a log that is away is one
 * line per request that met it (`warn`), and what nobody expected is logged as Fastify does, with the stack.
 */
export class QuietLog extends LogController {
  override incomingRequest (): void {}

  /** An error here is a connection that broke under the answer: a client that left. */
  override requestCompleted (): void {}

  override defaultErrorLog (error: Error & { code?: string }, request: FastifyRequest, reply: FastifyReply): void {
    const { statusCode } = reply
    if (statusCode >= 500 && statusCode !== UNAVAILABLE) super.defaultErrorLog(error, request, reply)
    else reply.log[statusCode === UNAVAILABLE ? 'warn' : 'debug']({ statusCode, code: error.code }, error.message)
  }
}
