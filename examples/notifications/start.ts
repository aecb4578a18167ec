import { randomBytes } from 'node:crypto'
import { subscribe as observe } from 'node:diagnostics_channel'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import { auth } from 'fastify-resumable-sse/auth'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

const SESSION_MS = 8 * 3_600_000
const name = { type: 'string', pattern: '^[a-z]{1,20}$' }
const login = { type: 'object', required: ['name'], properties: { name } }
const notification = {
  type: 'object',
  required: ['to', 'text'],
  properties: { to: name, text: { type: 'string', minLength: 1, maxLength: 200 } }
}
const querystring = {
  type: 'object',
  required: ['topic'],
  properties: { topic: { type: 'array', items: { type: 'string' } }, envelope: { type: 'boolean' } }
}

const app = Fastify({ logger: true })
// Must be the same in every process and after every restart, from `openssl rand -hex 32`: a new secret signs everybody
// out.
await app.register(cookie, { secret: process.env.COOKIE_SECRET ?? randomBytes(32).toString('hex') })
await app.register(sse)
await app.register(topics, { log: new LmdbLog({ folder: process.env.DATA_DIR ?? 'data/notifications' }) })
await app.register(auth, { cookie: { name: 'session', verify: verifySession } })
await app.register(pages, { folder: import.meta.dirname })

/** A session is a name and the time of the sign-in, signed by @fastify/cookie. Each user may read one topic. */
function verifySession (session: string) {
  const [subject = '', signedInAt] = session.split('.')
  const issuedAtMs = Number(signedInAt)
  return { subject, subscribe: [`users/${subject}`], issuedAtMs, expiresAtMs: issuedAtMs + SESSION_MS }
}

// Your app asks for a password here.
app.post<{ Body: { name: string } }>('/login', { schema: { body: login } }, async (request, reply) => {
  const session = `${request.body.name}.${Date.now()}`
  const options = { signed: true, httpOnly: true, secure: 'auto', sameSite: 'strict', path: '/' } as const
  return reply.setCookie('session', session, options).code(204).send()
})

// Ends the streams of the user in all tabs and on all devices.
app.post('/logout', { grant: true }, async (request, reply) => {
  await app.auth.revoke({ subject: request.grant!.subject })
  return reply.clearCookie('session', { path: '/' }).code(204).send()
})

// The content of a new tab: the latest notifications, and the cursor from which its stream continues.
app.get('/notifications', { grant: true }, async (request) => {
  const { subject } = request.grant!
  let { events, cursor } = await app.topics.read(`users/${subject}`)
  for (let page = events; page.length > 0;) {
    ({ events: page, cursor } = await app.topics.read(`users/${subject}`, { after: cursor }))
    events = [...events, ...page].slice(-20)
  }
  return { name: subject, events, cursor }
})

app.post<{ Body: { to: string, text: string } }>(
  '/notifications', { grant: true, schema: { body: notification } }, async (request, reply) => {
    const { to, text } = request.body
    await app.topics.publish(`users/${to}`, { data: { from: request.grant!.subject, text } })
    return reply.code(201).send()
  }
)

// Responds with 403 if the grant does not cover the topic.
app.get<{ Querystring: { topic: string[], envelope?: boolean } }>(
  '/events', { grant: true, schema: { querystring } }, (request, reply) => {
    const { topic, envelope } = request.query
    return reply.sse(app.topics.subscribe(topic, { envelope }))
  }
)

// For the curious: the number of open streams in this process.
let streams = 0
observe('sse.stream.open', () => streams++)
observe('sse.stream.close', () => streams--)
app.get('/streams', () => ({ streams }))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
