import { reportOf } from 'fastify-resumable-sse'

/** The body of every refusal. */
export interface Refusal { statusCode: number, code: string, error: string, message: string }

/** Codes that are ours; one of the system says something about the inside of the service. */
const OWN_CODE = /^(TOPICS|SERVICE|FST)_\w+$/

/** For a log that did not answer in time, or whose connection was lost meanwhile. */
const UNCERTAIN = 'it is not known whether this was done: repeat a publish with the same Idempotency-Key'

/**
 * The body of an error response: the message of a 4xx as it is, of a 5xx its status alone, the code where it is one of
 * ours, and whether it may have been done all the same.
 */
export function refusalOf (error: unknown): Refusal {
  const { statusCode, error: name, message: report } = reportOf(error)
  const message = isUncertain(error) ? `${report}: ${UNCERTAIN}` : report
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return { statusCode, code: OWN_CODE.test(code) ? code : codeOf(name), error: name, message }
}

function isUncertain (error: unknown): boolean {
  return error instanceof Error && 'mayBeDone' in error && error.mayBeDone === true
}

function codeOf (name: string): string {
  return name.toUpperCase().replace(/\W+/g, '_')
}
