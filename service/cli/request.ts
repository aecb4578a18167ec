import { printable } from './printable.ts'

/** A complete response of the service, or of a proxy in front of it. */
export interface Answer { status: number, statusText: string, headers: Headers, text: string }

/** Codes of failures in which no byte of the request can have been sent. */
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
/** Codes of failures that may be temporary: the service restarts, or the network is down. */
const TEMPORARY: ReadonlySet<unknown> = new Set([
  ...UNSENT,
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_CLOSED',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'HPE_INVALID_EOF_STATE'
])

/** The request could not be sent, or its response did not arrive. */
export class RequestError extends Error {
  /** True if another try may succeed. */
  readonly isTemporary: boolean
  /** True if the service may have received the request. */
  readonly mayBeDone: boolean

  /** `error` is what fetch, or reading a body, rejected with. */
  constructor (url: string, error: Error) {
    const cause = (error.cause ?? error) as NodeJS.ErrnoException
    const isTimeout = error.name === 'TimeoutError'
    // Part of the message may be text of the peer, such as the names in a certificate.
    const reason = isTimeout ? 'no response' : printable(cause.message || String(cause.code))
    super(`${new URL(url).origin} cannot be reached: ${reason}`)
    this.isTemporary = isTimeout || TEMPORARY.has(cause.code)
    this.mayBeDone = !UNSENT.has(cause.code)
  }
}

/** Sends a request and reads the complete response. Rejects with a `RequestError`. */
export async function request (url: string, init: RequestInit): Promise<Answer> {
  try {
    return await readAnswer(await fetch(url, init))
  } catch (error) {
    throw new RequestError(url, error as Error)
  }
}

interface Body { body: AsyncIterable<unknown> | null }

/** Longer than any response that a command expects: 1,000 ids, or a message. */
const MAX_LENGTH = 1024 * 1024

/** Reads the response, or only its beginning if it is too long; that is not a valid response. */
export async function readAnswer (response: Omit<Answer, 'text'> & Body): Promise<Answer> {
  const { status, statusText, headers, body } = response
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    if (text.length > MAX_LENGTH) break
  }
  return { status, statusText, headers, text }
}

/** Added to a 401, whose message is about HTTP requests: how the commands send a token. */
const TOKEN_HINT = ' (set RESUMABLE_SSE_TOKEN or --token)'

/** One line that describes an error response to a user. */
export function describeAnswer ({ status, statusText, text }: Pick<Answer, 'status' | 'statusText' | 'text'>): string {
  const { code, message } = parse(text)
  const line = typeof message === 'string' ? `${status} ${code}: ${message}` : `${status} ${statusText}`.trim()
  return printable(status === 401 ? line + TOKEN_HINT : line)
}

/** The response may come from a proxy, in any format. */
function parse (text: string): { code?: unknown, message?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as { code?: unknown, message?: unknown }
  } catch {
    return {}
  }
}
