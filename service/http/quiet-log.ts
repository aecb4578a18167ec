import { LogController } from 'fastify'
import type { FastifyRequest } from 'fastify'

const UNAVAILABLE = 503
const TOO_MANY = 429

/** Quiet when all is well: no line per request. What becomes of an error is told by `logRefusal`. */
export class QuietLog extends LogController {
  override incomingRequest (): void {}

  /** An error here is a connection that broke under the answer: a client that left. */
  override requestCompleted (): void {}
}

/**
 * A client's mistake is for that client (`debug`), and in the log without its words, which repeat what the client sent.
 * A log that is away is a warning, and what nobody expected is an error with its stack and the request; `LogLimit`
 * bounds both.
 */
export function logRefusal (error: Error & { code?: string }, request: FastifyRequest, statusCode: number): void {
  if (statusCode >= 500 && statusCode !== UNAVAILABLE) request.log.error({ err: error, req: request }, error.message)
  else if (statusCode === UNAVAILABLE) request.log.warn({ statusCode, code: error.code, req: request }, error.message)
  else request.log.debug({ statusCode, code: error.code }, 'request refused')
}

/** Of requests and errors only what is named here is logged. */
export const serializers = {
  /** Without its query and its headers, which may hold what gives access. */
  req: ({ method, url, ip }: FastifyRequest) => ({ method, path: pathOf(url), remoteAddress: ip }),
  err: (error: Error) => describeError(error) as { type: string, message: string, stack: string }
}

/**
 * Without further fields, which may hold secrets: an error of the Redis client holds the command it failed with,
 * passwords included, and an error of the HTTP parser all that the client sent. What says "not now" has no stack: it
 * comes by the thousand, and its place is known. What is thrown may be anything.
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

/** The path of a URL, without its query. */
export function pathOf (url: string): string {
  return url.split('?', 1)[0]!
}
