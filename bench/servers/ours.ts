import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { answerCalls } from './answers.ts'
import { readLines } from './text-body.ts'
import type { EventsRoute, PublishRoute } from './text-body.ts'
import { produceTokens } from './tokens.ts'
import type { TokenLoad } from './tokens.ts'

/** Ours, on the Redis log: every event passes through Redis before a client receives it. */
const connection = process.env.REDIS_URL ?? ''
const app = Fastify()
readLines(app)
await app.register(sse)
await app.register(topics, {
  log: new RedisLog({ connection, retention: [{ topics: '*', maxEvents: 1_000_000 }] }),
  maxBatchEvents: 10_000
})
app.get<EventsRoute>('/events', (request, reply) => reply.sse(app.topics.subscribe(request.query.topic)))
app.post<PublishRoute>('/publish', async request => {
  const { ids } = await app.topics.publish(request.query.topic, request.body.map(data => ({ data })))
  return { id: ids.at(-1) }
})
await app.listen({ host: '127.0.0.1', port: 0 })
answerCalls(app.server, { tokens: async (load: TokenLoad) => produceTokens(app, load) })
