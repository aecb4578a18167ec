import { createParser } from 'eventsource-parser'
import { lineEndNormalizer } from './line-ends.ts'
import { requestUrl } from './transport.ts'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport } from './transport.ts'

/** Maximum number of characters of one event: a server that never ends an event would fill the memory. */
const MAX_EVENT_LENGTH = 32 * 1024 * 1024
const MAX_ERROR_LENGTH = 10_000
const OK = 200

/** A transport over `fetch`, with headers, visible status codes, and backpressure. */
export function fetchTransport (fetcher: typeof fetch = fetch): Transport {
  return async (request, sink, signal) => {
    try {
      const response = await fetcher(requestUrl(request), requestInit(request, signal))
      if (response.status !== OK) return await rejection(response)
      const type = response.headers.get('content-type') ?? ''
      if (!/^text\/event-stream\s*(;|$)/i.test(type)) return await wrongType(response, type)
      sink.open()
      return await read(response, sink)
    } catch (cause) {
      return { kind: 'unreachable', cause }
    }
  }
}

function requestInit (request: ConnectionRequest, signal: AbortSignal): RequestInit {
  const headers: Record<string, string> = { ...request.headers, accept: 'text/event-stream' }
  if (request.cursor !== '') headers['last-event-id'] = request.cursor
  if (request.token !== undefined && request.tokenParameter === undefined) {
    headers['authorization'] = `Bearer ${request.token}`
  }
  // Node's types lack `cache`.
  const uncached = { cache: 'no-store' as const }
  return { ...uncached, headers, signal, credentials: request.withCredentials ? 'include' : 'same-origin' }
}

/** Reads the body to its end. A truncated event is dropped, as EventSource does; the cursor does not include it. */
async function read (response: Response, sink: ConnectionSink): Promise<Outcome> {
  const parser = parserOf(sink)
  const normalize = lineEndNormalizer()
  const decoder = new TextDecoder()
  const reader = response.body!.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return { kind: 'ended' }
      sink.chunk()
      parser.feed(normalize(decoder.decode(value, { stream: true })))
      await sink.ready()
    }
  } catch (cause) {
    reader.cancel(cause).catch(() => {})
    return { kind: 'ended', cause }
  }
}

function parserOf (sink: ConnectionSink): ReturnType<typeof createParser> {
  return createParser({
    maxBufferSize: MAX_EVENT_LENGTH,
    onEvent: ({ id, event = 'message', data }) => sink.message({ id, event, data }),
    onRetry: ms => sink.retry(ms),
    onComment: () => sink.comment(),
    onError: error => { if (error.type === 'max-buffer-size-exceeded') throw error }
  })
}

async function wrongType (response: Response, type: string): Promise<Outcome> {
  await response.body?.cancel()
  return {
    kind: 'rejected',
    status: OK,
    message: `expected content-type text/event-stream, saw ${JSON.stringify(type)}`
  }
}

async function rejection (response: Response): Promise<Outcome> {
  const { status, statusText } = response
  const text = await beginningOf(response).catch(() => '')
  const message = `${status} ${messageOf(text) ?? statusText}`.trim()
  return { kind: 'rejected', status, message, retryAfterMs: retryAfter(response.headers.get('retry-after')) }
}

/** The text of a body, or only its beginning if it is too long for a message: an endless one would fill the memory. */
async function beginningOf ({ body }: Response): Promise<string> {
  const reader = body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let bytes; text.length <= MAX_ERROR_LENGTH && (bytes = (await reader?.read())?.value) !== undefined;) {
    text += decoder.decode(bytes, { stream: true })
  }
  reader?.cancel().catch(() => {})
  return text
}

/** The `message` of a JSON error response, as Fastify writes it. */
function messageOf (text: string): string | undefined {
  if (text.length > MAX_ERROR_LENGTH) return undefined
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    return typeof message === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

/** `Retry-After`, in seconds or as a date, converted to milliseconds. */
function retryAfter (value: string | null): number | undefined {
  if (value === null) return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(ms, 0)
}
