import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import sse from '../plugin/index.ts'
import topics, { RedisLog } from '../topics/index.ts'
import { dataOf } from './workload.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/** Ours: every event goes through Redis and back before anybody gets it. */
const app = Fastify()
await app.register(sse)
await app.register(topics, { log: new RedisLog({ connection: process.env.REDIS_URL ?? '', retention: [{ topics: '*', maxEvents: 1_000_000 }] }) })
app.get<{ Querystring: { topic: string } }>('/events', (request, reply) => reply.sse(app.topics.subscribe(request.query.topic)))

/** Publishes under way at once: enough that Redis never waits for us. */
const IN_FLIGHT = 8

async function publish ({ topic, events, batch, marker }: ServerOrder): Promise<void> {
  let sent = 0
  const next = async (): Promise<void> => {
    while (sent < events) {
      const first = sent
      sent += batch
      await app.topics.publish(topic, Array.from({ length: batch }, (_, at) => ({ data: dataOf(first + at + 1, first + at + 1 === events ? marker : undefined) })))
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, next))
}

async function prepare (order: ServerOrder): Promise<void> {
  const { ids: [lastEventId] } = await app.topics.publish(order.topic, [{ data: 'before' }])
  await publish(order)
  tell({ kind: 'prepared', lastEventId })
}

process.on('message', (order: ServerOrder) => {
  void (order.kind === 'publish' ? publish(order) : prepare(order))
})

function tell (news: ServerNews): void {
  process.send?.(news)
}

await app.listen({ host: '127.0.0.1', port: 0 })
tell({ kind: 'listening', port: (app.server.address() as AddressInfo).port })
