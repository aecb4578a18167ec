import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { readAnswer, RequestError } from '../request.ts'
import type { Answer } from '../request.ts'

/**
 * Sends a request whose body is written over time, until the signal aborts. Settles with the response, which may come
 * before the body ends; rejects with a `RequestError` if there is none, and with the reason of the signal. Not `fetch`,
 * which may lose a response that comes before the end of the body.
 */
export async function sendLive (
  url: string,
  headers: Record<string, string>,
  body: AsyncIterable<string>,
  signal: AbortSignal
): Promise<Answer> {
  const { request } = url.startsWith('https:') ? https : http
  const sent = request(url, { method: 'POST', headers, signal, agent: false })
  // Acquires the topic, and reports errors, before the first line is available.
  sent.flushHeaders()
  const answered = answerOf(sent)
  write(body, sent, signal).catch(() => {})
  return answered
    .catch((error: Error) => { throw signal.aborted ? signal.reason : new RequestError(url, error) })
    .finally(() => { sent.destroy() })
}

/** After the response an error of the connection does not matter: nothing reads the rest of the body then. */
async function answerOf (sent: http.ClientRequest): Promise<Answer> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve)
    sent.on('error', reject)
  })
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers)) headers.set(name, String(value))
  return readAnswer({ status: response.statusCode!, statusText: response.statusMessage!, headers, body: response })
}

/** Waits for the connection if it is slower than the input. */
async function write (body: AsyncIterable<string>, sent: http.ClientRequest, signal: AbortSignal): Promise<void> {
  for await (const chunk of body) {
    if (!sent.write(chunk)) await once(sent, 'drain', { signal })
  }
  sent.end()
}
