import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sse from '../../../plugin/index.ts'
import { auth, Grant, MemoryTokenStore } from '../../../plugin/auth/index.ts'

// An app that logs everything possible, run as a separate program: its whole output is searched for credentials. Its
// serializers log more than is wise, and its handlers throw. It stops when stdin ends.

const app = Fastify({
  rewriteUrl: request => request.url!,
  logger: {
    level: 'trace',
    serializers: {
      req: request => ({ url: request.url, query: request.query, headers: request.headers, list: [request.raw.url] })
    }
  }
})
await app.register(cookie, { secret: randomBytes(32).toString('hex') })
await app.register(sse)
await app.register(auth, {
  jwt: { secret: process.env.SECRET! },
  cookie: { name: 'session', verify: () => null },
  oneTimeToken: { store: new MemoryTokenStore(), insecure: true, graceMs: 0 },
  recheckMs: 10
})
app.get('/events', { grant: true }, (request, reply) => reply.sse(stream => {
  request.log.info({ req: request }, 'open')
  stream.push({ data: 'hello' })
}))
app.get('/fails', { grant: true }, () => { throw new Error('a bug') })
app.get('/open', { logSerializers: { req: request => request.url } }, request => request.query)
app.get('/token', () => app.auth.issue(new Grant({ subject: 'alice' }, 'cookie')))
await app.listen({ host: '127.0.0.1', port: 0 })
process.stdin.resume().on('end', () => { void app.close() })
