import { printable } from './printable.ts'

/** A whole answer of the service, or of a proxy in front of it. */
export interface Answer { status: number, statusText: string, headers: Headers, text: string }

/** Codes of failures that may be over in a moment: a service that restarts, a network that is away. */
const TEMPORARY: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_CLOSED',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'HPE_INVALID_EOF_STATE'
])
/** Those among them that say that no byte of the request has left. */
const UNSENT: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'UND_ERR_CONNECT_TIMEOUT'
])

/** The request could not be made, or its answer did not arrive. */
export class RequestError extends Error {
  /** Worth another try. */
  readonly isTemporary: boolean
  /** The service may have seen the request. */
  readonly mayBeDone: boolean

  /** From what fetch rejects with, or a body. */
  constructor (url: string, error: Error) {
    const cause = (error.cause ?? error) as NodeJS.ErrnoException
    const isTimeout = error.name === 'TimeoutError'
    super(`${new URL(url).origin} cannot be reached: ${isTimeout ? 'it does not answer' : cause.message || cause.code}`)
    this.isTemporary = isTimeout || TEMPORARY.has(cause.code)
    this.mayBeDone = !UNSENT.has(cause.code)
  }
}

/** Sends a request and reads its whole answer. Rejects with a `RequestError`. */
export async function request (url: string, init: RequestInit): Promise<Answer> {
  try {
    return await readAnswer(await fetch(url, init))
  } catch (error) {
    throw new RequestError(url, error as Error)
  }
}

/** The whole answer. */
export async function readAnswer (response: Response): Promise<Answer> {
  const { status, statusText, headers } = response
  return { status, statusText, headers, text: await response.text() }
}

/** What an error response says, in one line for people. */
export function describeAnswer ({ status, statusText, text }: Pick<Answer, 'status' | 'statusText' | 'text'>): string {
  const { code, message } = parse(text)
  return printable(typeof message === 'string' ? `${status} ${code}: ${message}` : `${status} ${statusText}`.trim())
}

/** A proxy may have answered in words of its own. */
function parse (text: string): { code?: unknown, message?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as { code?: unknown, message?: unknown }
  } catch {
    return {}
  }
}
