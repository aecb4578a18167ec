// Orders that only their customer hears of: a signed cookie for the app, and for the stream a one-time token, because the
// stream may be served under another name, where no cookie of the app is sent. On a reconnect the browser shows the same,
// spent token and the cookie that came with the stream, and goes on exactly where it stopped.
//
//   npm run build && node dist/examples/private-orders.js
//   curl -c jar http://127.0.0.1:3000/login -H 'content-type: application/json' -d '{"name":"ann"}'
//   curl -b jar -X POST http://127.0.0.1:3000/events/auth         (answers {"token":"…","expiresIn":30,"session":"…"})
//   curl -N -c jar 'http://127.0.0.1:3000/orders?ot=…'
//   curl http://127.0.0.1:3000/orders -H 'content-type: application/json' -d '{"for":"ann","order":7}'
import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'
import { auth, MemoryTokenStore } from 'fastify-resumable-sse/auth'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'

/** `POST /login` signs in whoever says his name, `POST /orders` tells a customer, `GET /orders?ot=` streams to him alone. */
export async function build (): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  // The same for every process and after every restart, from `openssl rand -hex 32`: a new secret signs everybody out.
  await app.register(cookie, { secret: process.env.COOKIE_SECRET ?? randomBytes(32).toString('hex') })
  await app.register(sse)
  await app.register(topics, { log: new MemoryLog() })
  await app.register(auth, {
    cookie: { name: 'sid', verify: name => ({ subject: name, subscribe: [`orders.${name}`] }) },
    // Plain http on this machine; leave `insecure` away behind https. With many processes: a RedisTokenStore.
    oneTimeToken: { store: new MemoryTokenStore(), insecure: true }
  })

  app.post<{ Body: { name: string } }>('/login', async (request, reply) => {
    return reply.setCookie('sid', request.body.name, { signed: true, httpOnly: true, sameSite: 'lax' }).code(204).send()
  })
  app.post<{ Body: { for: string, order: number } }>('/orders', async (request, reply) => {
    await app.topics.publish(`orders.${request.body.for}`, { event: 'order', data: request.body })
    return reply.code(201).send()
  })
  app.get('/orders', { grant: true }, (request, reply) => {
    return reply.sse(app.topics.subscribe(`orders.${request.grant?.subject}`))
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
