import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'
import { model } from './model.ts'

interface Answer { Params: { id: string } }

const params = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }
const body = { type: 'object', required: ['prompt'], properties: { prompt: { type: 'string', minLength: 1, maxLength: 2_000 } } }

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, {
  log: new LmdbLog({
    folder: process.env.DATA_DIR ?? 'data/ai-chat',
    retention: [{ topics: '*', maxEvents: 50_000, expireAfterMs: 86_400_000 }]
  })
})
await app.register(pages, { folder: import.meta.dirname })

/** The answers that this process is generating. */
const running = new Map<string, AbortController>()

// Starts an answer, unless it was started already: the page chooses the id, so it can repeat the request.
app.put<Answer & { Body: { prompt: string } }>('/answers/:id', { schema: { params, body } }, async (request, reply) => {
  const topic = `answers/${request.params.id}`
  const question = { event: 'question', data: request.body.prompt }
  const { isRepeat } = await app.topics.publish(topic, question, { idempotencyKey: 'question' })
  if (!isRepeat) generate(topic, request.body.prompt).catch((error: unknown) => request.log.error(error))
  return reply.code(202).send({ isRepeat })
})

/** Publishes the answer, token by token, whether anybody reads it or not. */
async function generate (topic: string, prompt: string): Promise<void> {
  const stop = new AbortController()
  running.set(topic, stop)
  try {
    for await (const token of model(prompt, stop.signal)) await app.topics.publish(topic, { event: 'token', data: token })
    await finish(topic, 'done')
  } catch (error) {
    if (!stop.signal.aborted) app.log.error(error)
    await finish(topic, stop.signal.aborted ? 'stopped' : 'failed')
  } finally {
    running.delete(topic)
  }
}

async function finish (topic: string, outcome: 'done' | 'stopped' | 'failed'): Promise<void> {
  await app.topics.publish(topic, { event: outcome, data: '' })
  await app.topics.close(topic)
}

// The answer from its first token, or from where the reader was.
app.get<Answer>('/answers/:id', { schema: { params } }, async (request, reply) => {
  const topic = `answers/${request.params.id}`
  const { last, isClosed } = await app.topics.info(topic)
  if (last === null) return reply.code(404).send({ message: 'no such answer' })
  // The process that was generating it was killed.
  if (!isClosed && !running.has(topic)) await finish(topic, 'failed')
  return reply.sse(app.topics.subscribe(topic, { after: '0-0' }))
})

// The stop button.
app.delete<Answer>('/answers/:id', { schema: { params } }, async (request, reply) => {
  running.get(`answers/${request.params.id}`)?.abort()
  return reply.code(204).send()
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
