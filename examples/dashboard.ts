// A dashboard: many topics on one connection for what must not be missed, push() for what is stale a second later.
//
//   npm run build && node dist/examples/dashboard.js
//   curl -N 'http://127.0.0.1:3000/alerts?host=web-1&host=web-2'
//   curl -N http://127.0.0.1:3000/load
//   curl http://127.0.0.1:3000/hosts/web-1/alerts -H 'content-type: application/json' -d '{"text":"disk is full"}'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'
import type { SseStream } from 'fastify-resumable-sse'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'

interface Load { load: { heapUsedBytes: number, uptimeSeconds: number } }

const hostsSchema = { type: 'object', required: ['host'], properties: { host: { type: 'array', items: { type: 'string' }, minItems: 1 } } }

/** `GET /alerts?host=a&host=b` resumes exactly, `GET /load` shows the newest values only. */
export async function build ({ everyMs = 1_000 } = {}): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  await app.register(sse)
  await app.register(topics, { log: new MemoryLog() })
  const screens = new Set<SseStream<Load>>()

  app.post<{ Params: { host: string } }>('/hosts/:host/alerts', async (request, reply) => {
    const { ids } = await app.topics.publish(`alerts/${request.params.host}`, { event: 'alert', data: request.body })
    return reply.code(201).send({ id: ids[0] })
  })
  app.get<{ Querystring: { host: string[] } }>('/alerts', { schema: { querystring: hostsSchema } }, (request, reply) => {
    return reply.sse(app.topics.subscribe(request.query.host.map(host => `alerts/${host}`)))
  })
  // A screen that cannot keep up misses values instead of being cut off: the next one tells more.
  app.get<{ Sse: Load }>('/load', { sse: { slowClient: 'drop' } }, (request, reply) => reply.sse(stream => {
    screens.add(stream)
    void stream.closed.then(() => screens.delete(stream))
  }))

  const timer = setInterval(() => {
    const load = { heapUsedBytes: process.memoryUsage().heapUsed, uptimeSeconds: Math.round(process.uptime()) }
    for (const screen of screens) screen.push({ event: 'load', data: load })
  }, everyMs)
  app.addHook('onClose', () => clearInterval(timer))
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
