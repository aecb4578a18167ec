import { LogController } from 'fastify'
import type { FastifyRequest } from 'fastify'

const UNAVAILABLE = 503
const TOO_MANY = 429

/** Quiet in normal operation: no line per request. Errors are logged by `logError`. */
export class QuietLog extends LogController {
  override incomingRequest (): void {}

  /** An error here means that the connection broke during the response: the client disconnected. */
  override requestCompleted (): void {}
}

/**
 * A client error is logged at `debug` and without its message, which repeats what the client sent. An unavailable log
 * is a warning, and an unexpected error is logged as an error with its stack and the request; `LogLimit` limits both.
 */
export function logError (error: Error & { code?: string }, request: FastifyRequest, statusCode: number): void {
  if (statusCode >= 500 && statusCode !== UNAVAILABLE) request.log.error({ err: error, req: request }, error.message)
  else if (statusCode === UNAVAILABLE) request.log.warn({ statusCode, code: error.code, req: request }, error.message)
  else request.log.debug({ statusCode, code: error.code }, 'request rejected')
}

/** Only these fields of requests and errors are logged. */
export const serializers = {
  /** Without the query and the headers, which may contain credentials. */
  req: ({ method, url, ip }: FastifyRequest) => ({ method, path: pathOf(url), remoteAddress: ip }),
  err: (error: Error) => describeError(error) as { type: string, message: string, stack: string }
}

/**
 * Without additional fields, which may contain secrets: an error of the Redis client has the command that failed,
 * including passwords, and an error of the HTTP parser has everything that the client sent. Temporary errors have no
 * stack: there may be thousands of them, and their origin is known. The thrown value may be of any type.
 */
function describeError (error: unknown, hasStack = true): unknown {
  if (!(error instanceof Error)) return error
  const {
    name: type,
    message,
    stack,
    cause,
    code,
    statusCode
  } = error as Error & { code?: unknown, statusCode?: unknown }
  const isToldWhole = hasStack && statusCode !== UNAVAILABLE && statusCode !== TOO_MANY
  return {
    type,
    message,
    code,
    statusCode,
    stack: isToldWhole ? stack : undefined,
    cause: describeError(cause, isToldWhole)
  }
}

/** The path of a URL without its query, which also begins at a # for the router. */
export function pathOf (url: string): string {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}
