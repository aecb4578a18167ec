import { STATUS_CODES } from 'node:http'
import { types } from 'node:util'
import type { ErrorReport } from '../common/in-band.ts'

/** Status and message as Fastify's own error handler would send them, with the message hidden for 5xx. */
export function reportOf (error: unknown): ErrorReport {
  const statusCode = statusOf(error)
  const name = STATUS_CODES[statusCode] ?? 'Error'
  if (statusCode >= 500 || !isError(error)) return { statusCode, error: name, message: name }
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
  return { statusCode, ...code, error: name, message: error.message }
}

/** Also for errors of another realm. */
function isError (error: unknown): error is Error {
  return error instanceof Error || types.isNativeError(error)
}

/** The status of an error, from `statusCode` or `status`; an error status set on the reply takes precedence. */
export function statusOf (error: unknown, replyStatus = 0): number {
  if (isErrorStatus(replyStatus)) return replyStatus
  if (typeof error !== 'object' || error === null) return 500
  const { statusCode, status } = error as { statusCode?: unknown, status?: unknown }
  return [statusCode, status].find(isErrorStatus) ?? 500
}

function isErrorStatus (status: unknown): status is number {
  return typeof status === 'number' && status >= 400 && status <= 599
}
