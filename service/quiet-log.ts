import { LogController } from 'fastify'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Quiet when all is well: no line per request. Failures are logged as Fastify does. */
export class QuietLog extends LogController {
  override incomingRequest (): void {}

  override requestCompleted (error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    if (error) super.requestCompleted(error, request, reply)
  }
}
