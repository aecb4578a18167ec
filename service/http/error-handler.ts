import type { FastifyInstance, FastifyRequest } from 'fastify'
import { badMediaType } from './bodies.ts'
import { errors } from '../errors.ts'
import { logError } from './quiet-log.ts'
import { errorBodyOf } from './error-body.ts'
import { rejectPath } from './malformed-requests.ts'

/** `validationContext` is set if a schema rejected the request: Fastify's name for the part of the request. */
type Thrown = Error & { code?: string, headers?: Record<string, string>, validationContext?: string }

/** Gives every error response the same shape, with a code and the limit, including those that Fastify creates. */
export function handleErrors (app: FastifyInstance, { maxBodyBytes }: { maxBodyBytes: number }): void {
  app.setNotFoundHandler(rejectPath)
  app.setErrorHandler<Thrown>((thrown, request, reply) => {
    const error = inOurWords(thrown, request, maxBodyBytes)
    const answer = errorBodyOf(error)
    logError(error, request, answer.statusCode)
    // Fastify asks to close the connection; HTTP/2 has no such header.
    if (request.raw.httpVersionMajor > 1) reply.removeHeader('connection')
    return reply.code(answer.statusCode).headers(error.headers ?? {}).send(answer)
  })
}

/** Fastify's errors about bodies name no limit; a route may have a better message than the schema. */
function inOurWords (error: Thrown, request: FastifyRequest, maxBodyBytes: number): Thrown {
  switch (error.code ?? '') {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return new errors.SERVICE_BODY_TOO_LARGE(maxBodyBytes)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return badMediaType(request)
    // The client disconnected during its body; nobody reads the response.
    case 'ECONNRESET': return request.raw.complete ? error : new errors.SERVICE_ABORTED()
    default: return error.validationContext === undefined ? error : explained(error, request)
  }
}

/**
 * The message of the route's own check for what its schema rejects; the message of the schema if that check finds
 * nothing.
 */
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
    /** Called when the schema rejected a request: throws the error of the module that owns the check, or returns. */
    explain?: (request: FastifyRequest) => void
  }
}
