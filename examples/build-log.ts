// The log of a build, live and afterwards: one topic per build, closed when the build is over.
// A reader who comes late gets the log from its first line; one who drops goes on exactly where it stopped.
//
//   npm run build && node dist/examples/build-log.js
//   curl -X POST http://127.0.0.1:3000/builds              (answers {"id":"1"})
//   curl -N http://127.0.0.1:3000/builds/1/log
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'

const STEPS = ['fetch sources', 'compile', 'test', 'pack']

/** Publishes what the build says, and ends the topic with it. */
async function runBuild (app: FastifyInstance, topic: string): Promise<void> {
  for (const step of STEPS) {
    await app.topics.publish(topic, { event: 'line', data: `${step}: ok` })
    await sleep(20)
  }
  await app.topics.publish(topic, { event: 'result', data: { isOk: true } })
  await app.topics.close(topic)
}

/** `POST /builds` starts a build, `GET /builds/:id/log` streams its log from the first line on. */
export async function build (): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  await app.register(sse)
  await app.register(topics, { log: new MemoryLog() })
  let builds = 0

  app.post('/builds', async (request, reply) => {
    const id = String(++builds)
    runBuild(app, `build/${id}`).catch((err: unknown) => request.log.error({ err }, 'build failed'))
    return reply.code(202).send({ id })
  })
  // `last` counts for a client without a cursor only. After `stream.end` the next connect gets 204, and EventSource stops.
  app.get<{ Params: { id: string } }>('/builds/:id/log', (request, reply) => {
    return reply.sse(app.topics.subscribe(`build/${request.params.id}`, { last: 10_000 }))
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
