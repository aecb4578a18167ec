import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { answerMemory, dataOf } from './workload.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/** Ours: every event goes through Redis and back before anybody gets it. */
const redisUrl = process.env.REDIS_URL ?? ''
const app = Fastify()
await app.register(sse)
await app.register(topics, { log: new RedisLog({ connection: redisUrl, retention: [{ topics: '*', maxEvents: 1_000_000 }] }) })
app.get<{ Querystring: { topic: string | string[] } }>('/events', (request, reply) => reply.sse(app.topics.subscribe(request.query.topic)))

/** Publishes under way at once: enough that Redis never waits for us. */
const IN_FLIGHT = 8
const IN_FLIGHT_SINGLE = 64

type Publish = Extract<ServerOrder, { kind: 'publish' | 'prepare' }>

/** The events go to the topics in turn, batch by batch; the last one of each topic carries the marker. */
async function publish ({ topics, events, batch, marker }: Publish): Promise<void> {
  await Promise.all(topics.map(async topic => {
    let sent = 0
    await together(IN_FLIGHT, async () => {
      if (sent >= events) return false
      const first = sent
      sent += batch
      await app.topics.publish(topic, Array.from({ length: batch }, (_, at) => ({ data: dataOf(first + at + 1, first + at + 1 === events ? marker : undefined) })))
      return true
    })
  }))
}

async function prepare (order: Publish): Promise<void> {
  const { ids: [lastEventId] } = await app.topics.publish(order.topics[0]!, [{ data: 'before' }])
  await publish(order)
  tell({ kind: 'prepared', lastEventId })
}

/** Single publishes, many at once, through the topics or as bare XADDs of the same entry. */
async function rate ({ what, topic, events }: Extract<ServerOrder, { kind: 'rate' }>): Promise<void> {
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  let sent = 0
  const startedAt = performance.now()
  await together(IN_FLIGHT_SINGLE, async () => {
    if (sent >= events) return false
    const data = dataOf(++sent, undefined)
    if (what === 'topics') await app.topics.publish(topic, { data })
    else await redis.xadd(topic, 'MAXLEN', '~', '1000000', '*', 'd', data)
    return true
  })
  tell({ kind: 'rated', seconds: (performance.now() - startedAt) / 1_000 })
  redis.disconnect()
}

/** Runs so many at once, each again and again until it says that there is no more. */
async function together (count: number, step: () => Promise<boolean>): Promise<void> {
  const run = async (): Promise<void> => { while (await step()); }
  await Promise.all(Array.from({ length: count }, run))
}

process.on('message', (order: ServerOrder) => { void obey(order) })

async function obey (order: ServerOrder): Promise<void> {
  switch (order.kind) {
    case 'publish': return publish(order)
    case 'prepare': return prepare(order)
    case 'rate': return rate(order)
    case 'memory': return answerMemory()
  }
}

function tell (news: ServerNews): void {
  process.send?.(news)
}

await app.listen({ host: '127.0.0.1', port: 0 })
tell({ kind: 'listening', port: (app.server.address() as AddressInfo).port })
