// Passes another server's event stream on: the browser talks to this app, which knows the upstream and its secrets.
//
//   npm start                                               (the service, as upstream)
//   npm run build && node dist/examples/pass-on.js
//   curl -N http://127.0.0.1:3000/news
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'

const UPSTREAM = process.env.UPSTREAM ?? 'http://127.0.0.1:8080/events?topic=news'

/** `GET /news` streams the upstream. When the client leaves, the upstream request is cancelled. */
export async function build ({ upstream = UPSTREAM } = {}): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  await app.register(sse)
  app.get('/news', async (request, reply) => {
    const headers: Record<string, string> = { accept: 'text/event-stream' }
    // The client's position is the upstream's business: it says where to go on.
    if (request.lastEventId !== undefined) headers['last-event-id'] = request.lastEventId
    const response = await fetch(upstream, { headers })
    // 204 says that the stream is finished; EventSource stops on it.
    if (response.status === 204) return reply.code(204).send()
    return reply.sse(response)
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
