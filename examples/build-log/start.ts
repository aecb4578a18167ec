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

/** Stands for your build: any program that writes lines. */
const PROGRAM = join(import.meta.dirname, 'program.js')
const params = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, { log: new LmdbLog({ folder: process.env.DATA_DIR ?? 'data/build-log' }) })
await app.register(pages, { folder: import.meta.dirname })

/** The builds of this process. */
const running = new Set<string>()

/** Publishes each line that the program writes, and ends the topic with the program. */
async function run (topic: string): Promise<void> {
  running.add(topic)
  const child = spawn(process.execPath, [PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) {
    await app.topics.publish(topic, { event: 'line', data: line })
  }
  const [code] = await ended
  await finish(topic, code === 0 ? 'passed' : 'failed')
  running.delete(topic)
}

async function finish (topic: string, result: 'passed' | 'failed' | 'aborted'): Promise<void> {
  await app.topics.publish(topic, { event: 'result', data: result })
  await app.topics.close(topic)
}

app.post('/builds', async (request, reply) => {
  const id = randomUUID()
  const topic = `builds/${id}`
  await app.topics.publish(topic, { event: 'line', data: `build ${id}` })
  run(topic).catch((error: unknown) => request.log.error(error))
  return reply.code(202).send({ id })
})

// The log from its first line, or from where the reader was, while it grows and when it is complete.
app.get<Build>('/builds/:id/log', { schema: { params } }, async (request, reply) => {
  const topic = `builds/${request.params.id}`
  const { last, isClosed } = await app.topics.info(topic)
  if (last === null) return reply.code(404).send({ message: 'no such build' })
  // The process that ran it was killed.
  if (!isClosed && !running.has(topic)) await finish(topic, 'aborted')
  return reply.sse(app.topics.subscribe(topic, { after: '0-0' }))
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
