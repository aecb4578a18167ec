import http from 'node:http'
import type { Test } from 'tap'
import { deferred } from '../../../plugin/common/deferred.ts'

interface Ended { status: number, headers: http.IncomingHttpHeaders, json: Record<string, unknown> }

export interface LiveOptions { type?: string, headers?: Record<string, string>, query?: string, method?: string }

/** A producer over HTTP/1.1 whose body is written in pieces. */
export class LiveSender {
  readonly request: http.ClientRequest
  /** The complete response. */
  readonly ended: Promise<Ended>

  constructor (
    t: Test,
    origin: string,
    topic: string,
    { type = 'text/plain', headers = {}, query = '', method = 'POST' }: LiveOptions = {}
  ) {
    const url = `${origin}/topics/${encodeURIComponent(topic)}/producer${query}`
    this.request = http.request(url, { method, agent: false, headers: { 'content-type': type, ...headers } })
    t.teardown(() => { this.request.destroy() })
    const { promise, settle } = deferred<Ended>()
    this.ended = promise
    this.request.on('error', () => {})
    this.request.once('response', response => { void read(response).then(settle) })
    this.request.flushHeaders()
  }

  write (text: string | Uint8Array): void { this.request.write(text) }
  end (text = ''): void { this.request.end(text) }

  /** Breaks the connection. */
  async break (): Promise<void> {
    const closed = new Promise(resolve => { this.request.once('close', resolve) })
    this.request.destroy()
    await closed
  }
}

async function read (response: http.IncomingMessage): Promise<Ended> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string
  return { status: response.statusCode!, headers: response.headers, json: JSON.parse(text) as Record<string, unknown> }
}
