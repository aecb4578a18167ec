import { loadavg } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

const METRICS = ['load', 'memory', 'delay']
const querystring = {
  type: 'object',
  required: ['topic'],
  properties: {
    topic: { type: 'array', minItems: 1, items: { type: 'string', enum: METRICS.map(name => `metrics/${name}`) } },
    envelope: { type: 'boolean' }
  }
}

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, {
  log: new LmdbLog({
    folder: process.env.DATA_DIR ?? 'data/dashboard',
    // Metrics are worthless after an hour, and need not wait for the disk.
    retention: [{ topics: 'metrics/*', maxAgeMs: 3_600_000 }],
    durability: 'process'
  })
})
await app.register(pages, { folder: import.meta.dirname })

interface Query { topic: string[], envelope?: boolean }

// With `envelope` each event contains its topic. A newly opened chart starts with the last two minutes.
app.get<{ Querystring: Query }>('/events', { schema: { querystring } }, (request, reply) => {
  const { topic, envelope } = request.query
  return reply.sse(app.topics.subscribe(topic, { envelope, sinceMs: 120_000 }))
})

const delay = monitorEventLoopDelay()
delay.enable()

/**
 * Publishes the value of each metric: load of the machine, memory of this process in MB, and delay of its event loop in
 * ms.
 */
async function measure (): Promise<void> {
  const values = { load: loadavg()[0]!, memory: process.memoryUsage.rss() / 1e6, delay: delay.percentile(99) / 1e6 }
  delay.reset()
  const publishes = Object.entries(values).map(([name, value]) => {
    return app.topics.publish(`metrics/${name}`, { data: { at: Date.now(), value } })
  })
  await Promise.all(publishes)
}

const timer = setInterval(() => { measure().catch((error: unknown) => app.log.error(error)) }, 1_000)
app.addHook('onClose', () => clearInterval(timer))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
