import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { buildService, readConfig } from '../../../service/index.ts'
import { TIMEOUTS } from '../../../service/http/connections/timeouts.ts'
import type { Timeouts } from '../../../service/http/connections/timeouts.ts'
import { listen } from '../apps/app.ts'

/** One response, parsed if it is JSON. */
export interface Answer { status: number, headers: Headers, text: string, json: unknown }

export interface CallOptions {
  method?: string
  body?: string | object
  type?: string
  headers?: Record<string, string>
}

/** The service in this process, listening on a free port; by default with the log in memory. Closed after the test. */
export class TestService {
  readonly app: FastifyInstance
  readonly origin: string

  private constructor (app: FastifyInstance, origin: string) {
    this.app = app
    this.origin = origin
  }

  static async start (
    t: Test,
    env: Record<string, string> = {},
    timeouts: Partial<Timeouts> = {}
  ): Promise<TestService> {
    const app = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', ...env }), {
      ...TIMEOUTS, ...timeouts
    })
    t.teardown(() => app.close())
    return new TestService(app, await listen(app))
  }

  /** A body that is an object or array is sent as JSON, a string unchanged with `type`. */
  call (path: string, options?: CallOptions): Promise<Answer> {
    return call(this.origin + path, options)
  }

  publish (topic: string, body: string | object, options?: CallOptions): Promise<Answer> {
    return this.call(`/topics/${encodeURIComponent(topic)}/events`, { method: 'POST', body, ...options })
  }

  /** The state of each of these topics, to check that nothing has changed. */
  async counts (...topics: string[]): Promise<unknown[]> {
    return Promise.all(topics.map(async topic => (await this.call(`/topics/${encodeURIComponent(topic)}`)).json))
  }
}

/** One request on a separate connection. */
export async function call (
  url: string,
  { method = 'GET', body, type = 'application/json', headers = {} }: CallOptions = {}
): Promise<Answer> {
  const content = body === undefined ? {} : { 'content-type': type }
  const response = await fetch(url, {
    method,
    headers: { connection: 'close', ...content, ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) })
  })
  return read(response)
}

/** A complete response of fetch. */
export async function read (response: Response): Promise<Answer> {
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true && text !== ''
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
}
