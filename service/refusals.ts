import type { FastifyInstance } from 'fastify'
import { errors } from './errors.ts'

/** Bytes that the body of a request may have. */
export const MAX_BODY_BYTES = 1024 * 1024

/** Fastify's own refusals of a body name no limit; the codes stay. */
const MESSAGES: Partial<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: `a body must be at most ${MAX_BODY_BYTES} bytes`,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'content-type must be application/json or text/plain'
}

/** Gives every refusal a code and its limit, also those that Fastify makes by itself. */
export function tellRefusals (app: FastifyInstance): void {
  // Without the query, which may hold what no message and no log should.
  app.setNotFoundHandler(request => { throw new errors.SERVICE_NO_SUCH_PATH(request.url.split('?', 1)[0]) })
  app.setErrorHandler<Error & { code?: string }>((error, request, reply) => {
    const message = MESSAGES[error.code ?? '']
    return reply.send(message === undefined ? error : Object.assign(error, { message }))
  })
}
