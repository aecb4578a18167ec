import Fastify from 'fastify'
import type { FastifyError } from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'
import { model } from './model.ts'

interface Answer { Params: { id: string } }

const params = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }
const body = {
  type: 'object', required: ['prompt'], properties: { prompt: { type: 'string', minLength: 1, maxLength: 2_000 } }
}

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, {
  log: new LmdbLog({
    folder: process.env.DATA_DIR ?? 'data/ai-chat',
    retention: [{ topics: '*', maxEvents: 50_000, expireAfterMs: 86_400_000 }]
  })
})
await app.register(pages, { folder: import.meta.dirname })

/** How long an answer still counts as being written after its process was killed. */
const LEASE_MS = 5_000

// Starts an answer, unless it was started before: the page chooses the id, so it can repeat the request. The answer is
// generated whether or not anybody reads it.
app.put<Answer & { Body: { prompt: string } }>('/answers/:id', { schema: { params, body } }, async (request, reply) => {
  const { prompt } = request.body
  try {
    await app.topics.produce(`answers/${request.params.id}`, async function * ({ signal }) {
      yield { event: 'question', data: prompt }
      for await (const token of model(prompt, signal)) yield { event: 'token', data: token }
    }, { leaseMs: LEASE_MS })
    return reply.code(202).send({ isRepeat: false })
  } catch (error) {
    if ((error as FastifyError).statusCode !== 409) throw error
    return reply.code(202).send({ isRepeat: true })
  }
})

// The answer from its first token, or from the reader's position.
app.get<Answer>('/answers/:id', { schema: { params } }, async (request, reply) => {
  const topic = `answers/${request.params.id}`
  const { last, producer } = await app.topics.info(topic)
  if (last === null && producer === null) return reply.code(404).send({ message: 'no such answer' })
  return reply.sse(app.topics.subscribe(topic, { after: '0-0' }))
})

// The stop button.
app.delete<Answer>('/answers/:id', { schema: { params } }, async (request, reply) => {
  await app.topics.stop(`answers/${request.params.id}`)
  return reply.code(204).send()
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
