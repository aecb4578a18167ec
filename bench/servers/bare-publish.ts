import Fastify from 'fastify'
import { answerCalls } from './answers.ts'

/** A bare Fastify POST with the schema of the service: it validates the body, counts, and responds with an id. */
const app = Fastify()
let events = 0
const schema = {
  params: { type: 'object', properties: { topic: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,128}$' } } },
  headers: { type: 'object', properties: { 'idempotency-key': { type: 'string', pattern: '^[\\x21-\\x7e]{1,128}$' } } },
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['data'],
    properties: { event: { type: 'string' }, data: {}, retry: { type: 'integer', minimum: 0 } }
  },
  response: { 201: { type: 'object', properties: { id: { type: 'string' } } } }
}
app.post('/topics/:topic/events', { schema }, async (request, reply) => reply.code(201).send({ id: `1-${++events}` }))
await app.listen({ host: '127.0.0.1', port: 0 })
answerCalls(app.server)
