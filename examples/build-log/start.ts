import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

interface Build { Params: { id: string } }

/** Replaces your build: any program that writes lines. */
const PROGRAM = join(import.meta.dirname, 'program.js')
const params = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, { log: new LmdbLog({ folder: process.env.DATA_DIR ?? 'data/build-log' }) })
await app.register(pages, { folder: import.meta.dirname })

/** The lines that the program writes, and how it ended. */
async function * run (id: string, signal: AbortSignal) {
  yield { event: 'line', data: `build ${id}` }
  const child = spawn(process.execPath, [PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  signal.addEventListener('abort', () => child.kill())
  const ended = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) yield { event: 'line', data: line }
  const [code] = await ended
  yield { event: 'result', data: code === 0 ? 'passed' : 'failed' }
}

// The producer continues whether or not anybody reads, and closes the topic. If this process is killed, its lease
// expires and the log closes it.
app.post('/builds', async (request, reply) => {
  const id = randomUUID()
  await app.topics.produce(`builds/${id}`, ({ signal }) => run(id, signal), { leaseMs: 5_000 })
  return reply.code(202).send({ id })
})

// The log from its first line or from the reader's position, both while it grows and when it is complete.
app.get<Build>('/builds/:id/log', { schema: { params } }, async (request, reply) => {
  const topic = `builds/${request.params.id}`
  const { state } = await app.topics.producer(topic)
  if (state === 'none') return reply.code(404).send({ message: 'no such build' })
  return reply.sse(app.topics.subscribe(topic, { after: '0-0' }))
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
