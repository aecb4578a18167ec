import { reportOf } from 'fastify-resumable-sse'

/** The body of every error response. */
export interface ErrorBody { statusCode: number, code: string, error: string, message: string }

/** Codes of our own; a system error code would reveal details of the service. */
const OWN_CODE = /^(TOPICS|SERVICE|FST)_\w+$/

/** Some messages repeat what the client sent, such as a path of 16 KB. */
const MAX_MESSAGE_LENGTH = 1_000

/** For a log that did not respond in time, or whose connection was lost in the meantime. */
const UNCERTAIN = 'the outcome is unknown: repeat a publish with the same Idempotency-Key'

/**
 * The body of an error response: the full message of a 4xx but only the status text of a 5xx, the code if it is one of
 * ours, and whether the request may have taken effect anyway.
 */
export function errorBodyOf (error: unknown): ErrorBody {
  const { statusCode, error: name, message: report } = reportOf(error)
  const message = isUncertain(error) ? `${report}: ${UNCERTAIN}` : report
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return { statusCode, code: OWN_CODE.test(code) ? code : codeOf(name), error: name, message: shorten(message) }
}

function shorten (message: string): string {
  return message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message
}

function isUncertain (error: unknown): boolean {
  return error instanceof Error && 'mayBeDone' in error && error.mayBeDone === true
}

function codeOf (name: string): string {
  return name.toUpperCase().replace(/\W+/g, '_')
}
