import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { badMediaType } from './bodies/bodies.ts'
import { errors } from '../errors.ts'
import { logError } from './quiet-log.ts'
import { errorBodyOf } from './error-body.ts'
import { isAborted } from './is-aborted.ts'
import { rejectPath } from './connections/malformed-requests.ts'

/** `validationContext`, Fastify's name for the part of the request, is set if a schema rejected the request. */
type Thrown = Error & { code?: string, headers?: Record<string, string>, validationContext?: string }

/** Gives every error response the same shape, with a code and the limit, including those that Fastify creates. */
async function handleErrors (app: FastifyInstance, { maxBodyBytes }: { maxBodyBytes: number }): Promise<void> {
  app.setNotFoundHandler(rejectPath)
  app.setErrorHandler<Thrown>((thrown, request, reply) => {
    const error = inOurWords(thrown, request, maxBodyBytes)
    const answer = errorBodyOf(error)
    logError(error, request, answer.statusCode)
    // Fastify asks for the connection to be closed, in case the client sends more of the body. HTTP/2 has no such
    // header; and pipelined requests behind a complete body would be handled, but get no response.
    if (request.raw.httpVersionMajor > 1 || request.raw.complete) reply.removeHeader('connection')
    return reply.code(answer.statusCode).headers(error.headers ?? {}).send(answer)
  })
}

export const errorHandling = fp(handleErrors, { name: 'service-errors' })

/** Fastify's errors about bodies do not name the limit; and a route may have a better message than the schema. */
function inOurWords (error: Thrown, request: FastifyRequest, maxBodyBytes: number): Thrown {
  switch (error.code ?? '') {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return new errors.SERVICE_BODY_TOO_LARGE(maxBodyBytes)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return badMediaType(request)
    // Its body ended before it was complete; the second is the code of a body that is passed through another stream.
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE': return isAborted(request) ? new errors.SERVICE_ABORTED() : error
    default: return error.validationContext === undefined ? error : explained(error, request)
  }
}

/**
 * The message of the route's own check for a value that its schema rejects; the schema's message if that check finds
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
