import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import { auth } from 'fastify-resumable-sse/auth'
import { LmdbTokenStore } from 'fastify-resumable-sse/auth/lmdb'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

const folder = process.env.DATA_DIR ?? 'data/one-time-token'
const name = { type: 'string', pattern: '^[a-z]{1,20}$' }
const login = { type: 'object', required: ['name'], properties: { name } }
const order = {
  type: 'object',
  required: ['for', 'product'],
  properties: { for: name, product: { type: 'string', minLength: 1, maxLength: 100 } }
}

const app = Fastify({ logger: true })
// Must be the same in every process and after every restart, from `openssl rand -hex 32`: a new secret signs everybody
// out.
await app.register(cookie, { secret: process.env.COOKIE_SECRET ?? randomBytes(32).toString('hex') })
await app.register(sse)
await app.register(topics, { log: new LmdbLog({ folder }) })
await app.register(auth, {
  // Tokens are issued to everybody who has the session cookie of the app.
  cookie: { name: 'session', verify: subject => ({ subject, subscribe: [`orders/${subject}`] }) },
  // Adds POST /events/auth, and accepts its tokens as `?ot=`.
  oneTimeToken: { store: new LmdbTokenStore({ folder }) }
})
await app.register(pages, { folder: import.meta.dirname })

// Your app asks for a password here.
app.post<{ Body: { name: string } }>('/login', { schema: { body: login } }, async (request, reply) => {
  const options = { signed: true, httpOnly: true, secure: 'auto', sameSite: 'strict', path: '/' } as const
  return reply.setCookie('session', request.body.name, options).code(204).send()
})

app.post<{ Body: { for: string, product: string } }>('/orders', {
  grant: true, schema: { body: order }
}, async (request, reply) => {
  const { for: customer, product } = request.body
  await app.topics.publish(`orders/${customer}`, { event: 'order', data: { product, by: request.grant!.subject } })
  return reply.code(201).send()
})

// Accepts a token, or the session of a token that was spent. The topic is the subject's own.
app.get('/orders', { grant: true }, (request, reply) => {
  return reply.sse(app.topics.subscribe(`orders/${request.grant!.subject}`, { last: 10 }))
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
