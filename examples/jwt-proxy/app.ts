import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { SignJWT } from 'jose'
import sse from 'fastify-resumable-sse'
import { auth } from 'fastify-resumable-sse/auth'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

const { JWT_SECRET: secret = '', PORT = '3001' } = process.env
const login = { type: 'object', required: ['name'], properties: { name: { type: 'string', pattern: '^[a-z]{1,20}$' } } }
const note = {
  type: 'object', required: ['text'], properties: { text: { type: 'string', minLength: 1, maxLength: 200 } }
}

const app = Fastify({ logger: true })
await app.register(cookie)
await app.register(sse)
await app.register(topics, { log: new LmdbLog({ folder: process.env.DATA_DIR ?? 'data/jwt-proxy' }) })
// The app does not handle cookies for authentication: every token arrives in the Authorization header.
await app.register(auth, { jwt: { secret } })
await app.register(pages, { folder: import.meta.dirname })

// Usually the job of an identity provider; the app is then configured with its `jwksUrl` instead of the secret.
app.post<{ Body: { name: string } }>('/login', { schema: { body: login } }, async (request, reply) => {
  const token = await new SignJWT({ topics: { subscribe: ['notes/{sub}'], publish: ['notes/{sub}'] } })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(request.body.name)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(Buffer.from(secret))
  // Use `secure: true` behind https.
  return reply.setCookie('token', token, { httpOnly: true, sameSite: 'strict', path: '/', maxAge: 3_600 })
    .code(204)
    .send()
})

app.get('/api/events', { grant: true }, (request, reply) => {
  return reply.sse(app.topics.subscribe(`notes/${request.grant!.subject}`, { last: 20 }))
})

app.post<{ Body: { text: string } }>('/api/notes', { grant: true, schema: { body: note } }, async (request, reply) => {
  const topic = `notes/${request.grant!.subject}`
  request.grant!.checkPublish(topic)
  await app.topics.publish(topic, { data: request.body.text })
  return reply.code(201).send()
})

await app.listen({ port: Number(PORT) })
