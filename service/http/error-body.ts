import { reportOf } from 'fastify-resumable-sse'

/** The body of every refusal. */
export interface Refusal { statusCode: number, code: string, error: string, message: string }

/** Codes that are ours; one of the system says something about the inside of the service. */
const OWN_CODE = /^(TOPICS|SERVICE|FST)_\w+$/

/** What a client is told: the message of a 4xx as it is, of a 5xx nothing but its status and, where it is one of ours, its code. */
export function refusalOf (error: unknown): Refusal {
  const { statusCode, error: name, message } = reportOf(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return { statusCode, code: OWN_CODE.test(code) ? code : codeOf(name), error: name, message }
}

function codeOf (name: string): string {
  return name.toUpperCase().replace(/\W+/g, '_')
}
