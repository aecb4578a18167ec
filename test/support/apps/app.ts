import type { AddressInfo } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { SsePluginOptions } from '../../../plugin/index.ts'

/** A Fastify instance with the plugin, closed after the test. */
export async function buildApp (
  t: Test,
  options: SsePluginOptions = {},
  server: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(sse, { drainMs: 500, ...options })
  return app
}

/** Listens on a free port of 127.0.0.1 and returns the origin. */
export async function listen (app: FastifyInstance): Promise<string> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const scheme = app.server instanceof TlsServer ? 'https' : 'http'
  return `${scheme}://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}
