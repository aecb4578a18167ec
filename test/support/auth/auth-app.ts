import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { auth } from '../../../plugin/auth/index.ts'
import type { AuthOptions } from '../../../plugin/auth/index.ts'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import { buildApp, listen } from '../apps/app.ts'
import { fetchAll, open } from '../clients/client.ts'
import type { Opened } from '../clients/client.ts'

export interface StartOptions {
  server?: FastifyServerOptions
  before?: (app: FastifyInstance) => Promise<void>
  after?: (app: FastifyInstance) => void
}

export interface AuthApp { app: FastifyInstance, origin: string }

/**
 * An app on a real port with `GET /events?topic=a`, and `GET /me`, which returns the grant; both require one. `before`
 * receives the app before the plugin is registered, `after` before it listens.
 */
export async function startAuthApp (
  t: Test,
  options: AuthOptions,
  { server, before, after }: StartOptions = {}
): Promise<AuthApp> {
  const app = await buildApp(t, { retryMs: false }, server)
  await app.register(topics, { log: new MemoryLog() })
  await before?.(app)
  await app.register(auth, options)
  app.get<{ Querystring: { topic?: string | string[] } }>(
    '/events',
    { grant: true },
    (request, reply) => reply.sse(app.topics.subscribe(request.query.topic ?? 'news'))
  )
  app.get('/me', { grant: true }, request => ({ ...request.grant }))
  after?.(app)
  return { app, origin: await listen(app) }
}

export type Headers = Record<string, string | string[]>

/** Opens a stream; for a response that ends, `ask` returns all of it. */
export function listenTo (t: Test, origin: string, path = '/events', headers: Headers = {}): Promise<Opened> {
  return open(t, origin + path, { headers: { accept: 'text/event-stream', ...headers } })
}

export interface Told { status: number, headers: Opened['headers'], text: string, json: Record<string, unknown> }

/** Sends one request; the response is parsed if it is JSON. */
export async function ask (t: Test, url: string, headers: Headers = {}, method = 'GET'): Promise<Told> {
  const { statusCode, headers: received, text } = await fetchAll(t, url, { headers, method })
  const isJson = text.startsWith('{')
  return {
    status: statusCode, headers: received, text, json: isJson ? JSON.parse(text) as Record<string, unknown> : {}
  }
}
