import type { PageToken } from './token.ts'

/** The response to a call; `body` is parsed JSON, or undefined. */
export interface Answer { readonly status: number, readonly body: unknown }

/** A call that failed, with a message for users. `status` is undefined if there was no response. */
export class CallError extends Error {
  readonly status: number | undefined

  constructor (message: string, status?: number) {
    super(message)
    this.status = status
  }
}

/**
 * Calls to the service on behalf of the page's user. Paths are relative to the page, because a proxy may serve
 * everything below a path.
 */
export class Api {
  /** The credentials of the page's user. */
  readonly token: PageToken

  constructor (token: PageToken) {
    this.token = token
  }

  /** Rejects with a `CallError` for any status from 400 on, and if there is no response. */
  async call (path: string, { method = 'GET', body }: { method?: string, body?: string } = {}): Promise<Answer> {
    const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' }
    const headers = { ...this.token.headers(), ...type, accept: 'application/json' }
    const init = { method, headers, cache: 'no-store' as const, ...(body === undefined ? {} : { body }) }
    const response = await fetch(urlOf(path), init).catch(() => {
      throw new CallError('the service cannot be reached')
    })
    const text = await response.text()
    if (!response.ok) throw new CallError(describe(response, text), response.status)
    return { status: response.status, body: parse(text) }
  }

  /** Publishes one event. `data` is JSON text. Settles with its id. */
  async publish (topic: string, data: string, event = ''): Promise<string> {
    const body = `{${event === '' ? '' : `"event":${JSON.stringify(event)},`}"data":${data}}`
    const answer = await this.call(`topics/${encodeURIComponent(topic)}/events`, { method: 'POST', body })
    return (answer.body as { id: string }).id
  }
}

/** The URL of a path of the service. */
export function urlOf (path: string): URL {
  return new URL(path, document.baseURI)
}

/** How to fix an error, for errors that the user can fix; otherwise its message. */
export function explain ({ message, status }: Pick<CallError, 'message' | 'status'>, hasToken: boolean): string {
  if (status === 401 && hasToken) return 'The token is invalid or has expired: enter another one.'
  if (status === 401) return 'This service asks for credentials: enter a token.'
  if (status === 403) return `Your credentials do not allow this: ${message}.`
  return `${message}.`
}

function describe ({ status, statusText }: Response, text: string): string {
  const { message, code } = (parse(text) ?? {}) as { message?: unknown, code?: unknown }
  const isExplained = typeof message === 'string' && typeof code === 'string'
  return isExplained ? `${status} ${code}: ${message}` : `${status} ${statusText}`.trim()
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
