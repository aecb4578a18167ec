import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { pages } from '../shared/pages.ts'

const { INSTANCE: instance = '1', PORT = '3001', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env
const body = {
  type: 'object', required: ['text'], properties: { text: { type: 'string', minLength: 1, maxLength: 200 } }
}

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, { log: new RedisLog({ connection: REDIS_URL }) })
await app.register(pages, { folder: import.meta.dirname })

// Both instances publish to the same log, and each serves the streams that nginx forwards to it.
app.post<{ Body: { text: string } }>('/messages', { schema: { body } }, async (request, reply) => {
  await app.topics.publish('messages', { data: { text: request.body.text, instance } })
  return reply.code(201).send()
})

// First sends the instance that serves the stream, then continues with the topic.
app.get('/events', (request, reply) => reply.sse(async function * () {
  yield { event: 'instance', data: { instance, pid: process.pid } }
  return app.topics.subscribe('messages', { last: 20 })
}))

await app.listen({ port: Number(PORT) })
