import type { FastifyInstance, FastifyRequest } from 'fastify'
import { badMediaType } from './bodies.ts'
import { errors } from '../errors.ts'
import { logRefusal } from './quiet-log.ts'
import { refusalOf } from './error-body.ts'
import { refusePath } from './malformed-requests.ts'

/** `validationContext` is there when a schema refused it: Fastify's name for the part of the request. */
type Thrown = Error & { code?: string, headers?: Record<string, string>, validationContext?: string }

/** Gives every refusal its shape, a code and its limit, also those that Fastify makes by itself. */
export function tellRefusals (app: FastifyInstance, { maxBodyBytes }: { maxBodyBytes: number }): void {
  app.setNotFoundHandler(refusePath)
  app.setErrorHandler<Thrown>((thrown, request, reply) => {
    const error = inOurWords(thrown, request, maxBodyBytes)
    const refusal = refusalOf(error)
    logRefusal(error, request, refusal.statusCode)
    // Fastify asks to close the connection; HTTP/2 has no such header.
    if (request.raw.httpVersionMajor > 1) reply.removeHeader('connection')
    return reply.code(refusal.statusCode).headers(error.headers ?? {}).send(refusal)
  })
}

/** Fastify's refusals of a body name no limit; a schema's are told better where a route has the words. */
function inOurWords (error: Thrown, request: FastifyRequest, maxBodyBytes: number): Thrown {
  switch (error.code ?? '') {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return new errors.SERVICE_BODY_TOO_LARGE(maxBodyBytes)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return badMediaType(request)
    // The client has left inside its body; nobody reads the answer.
    case 'ECONNRESET': return request.raw.complete ? error : new errors.SERVICE_ABORTED()
    default: return error.validationContext === undefined ? error : explained(error, request)
  }
}

/** What the route's own check says about what its schema refuses; the schema's words where the check says nothing. */
function explained (error: Thrown, request: FastifyRequest): Thrown {
  try {
    request.routeOptions.config.explain?.(request)
    return error
  } catch (told) {
    return told as Thrown
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Called when the schema refused a request: throws what is wrong in the words of the room that checks it, or
     * returns.
     */
    explain?: (request: FastifyRequest) => void
  }
}
