import type { FastifyInstance, FastifyReply } from 'fastify'
import type { PublishEvent, Published } from '../topics/index.ts'

interface TopicRoute { Params: { topic: string } }

/** Publishing to topics, and their state. */
export function topicsRoutes (app: FastifyInstance): void {
  readTextAsEvent(app)
  app.post<TopicRoute & { Body: PublishEvent | PublishEvent[] }>('/topics/:topic/events', async (request, reply) => {
    const { body, params, headers } = request
    const key = headers['idempotency-key']
    const published = await app.topics.publish(params.topic, body, { idempotencyKey: typeof key === 'string' ? key : undefined })
    return answer(reply, published, Array.isArray(body))
  })
  app.get<TopicRoute>('/topics/:topic', request => app.topics.info(request.params.topic))
  app.post<TopicRoute>('/topics/:topic/close', async (request, reply) => {
    await app.topics.close(request.params.topic)
    return reply.code(204).send()
  })
  app.delete<TopicRoute>('/topics/:topic', async (request, reply) => {
    await app.topics.delete(request.params.topic)
    return reply.code(204).send()
  })
}

/** A `text/plain` body is the data of one event. */
function readTextAsEvent (app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (request, text, done) => done(null, { data: text }))
}

function answer (reply: FastifyReply, { ids, isRepeat }: Published, isBatch: boolean): FastifyReply {
  if (isRepeat) reply.header('idempotency-replayed', 'true')
  return reply.code(201).send(isBatch ? { ids } : { id: ids[0] })
}
