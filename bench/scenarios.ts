import { once } from 'node:events'
import { newsOf, order, startLoad } from './harness.ts'
import type { BenchRedis, Round, Server } from './harness.ts'
import type { LoadOrder } from './load.ts'
import type { LoadNews } from './load.ts'
import type { ServerNews } from './workload.ts'

export const CLIENTS = 1_000
export const LIVE = { events: 10_000, batch: 100 }
/** A peer that writes each event by itself takes long for as many as ours. */
export const LIVE_OF_PEER = { events: 200, batch: 1 }
export const MISSED = { events: 1_000, batch: 100 }
export const MANY = { topics: 100, each: 10, events: 100, batch: 10 }
export const IDLE_CLIENTS = 2_000
export const SINGLE_PUBLISHES = 50_000

interface FanOut { server: Server, redis: BenchRedis, path: string, topic: string, live: { events: number, batch: number }, round: number }

/** Events to clients that are all connected; the clock starts with the first publish and stops when the last client has the last event. */
export async function runFanOut ({ server, redis, path, topic, live, round }: FanOut): Promise<Round> {
  const marker = `END-${round}-`
  return measure(server, redis, { paths: [path], clients: CLIENTS, marker }, { kind: 'publish', topics: [topic], ...live, marker })
}

/** As above, each client on some of many topics. */
export async function runManyTopics (server: Server, redis: BenchRedis, round: number): Promise<Round> {
  const marker = `END-${round}-`
  const topics = Array.from({ length: MANY.topics }, (_, at) => `many-${round}-${at}`)
  const paths = topics.map((_, first) => `/events?${Array.from({ length: MANY.each }, (_, at) => `topic=${topics[(first + at) % MANY.topics]}`).join('&')}`)
  return measure(server, redis, { paths, clients: CLIENTS, marker, markers: MANY.each }, { kind: 'publish', topics, events: MANY.events, batch: MANY.batch, marker })
}

async function measure (server: Server, redis: BenchRedis, load: Omit<LoadOrder, 'port'>, what: Parameters<typeof order>[1]): Promise<Round> {
  const child = startLoad({ port: server.port, ...load })
  await newsOf<LoadNews, 'connected'>(child, 'connected')
  const startedAt = Date.now()
  const before = await redis.reads()
  order(server, what)
  return finish(child, redis, startedAt, before)
}

/** Clients that all come at once and have missed the same events. */
export async function runStorm (server: Server, redis: BenchRedis, path: string, topic: string, round: number): Promise<Round> {
  const marker = `END-${round}-`
  order(server, { kind: 'prepare', topics: [topic], ...MISSED, marker })
  const { lastEventId } = await newsOf<ServerNews, 'prepared'>(server.child, 'prepared')
  const before = await redis.reads()
  const startedAt = Date.now()
  const load = startLoad({ port: server.port, paths: [path], clients: CLIENTS, marker, ...(lastEventId === undefined ? {} : { lastEventId }) })
  return finish(load, redis, startedAt, before)
}

/** Bytes that each connection costs which only waits. */
export async function runIdle (server: Server, path: string): Promise<number> {
  const before = await memoryOf(server)
  const load = startLoad({ port: server.port, paths: [path], clients: IDLE_CLIENTS, marker: 'never' })
  await newsOf<LoadNews, 'connected'>(load, 'connected')
  const bytes = (await memoryOf(server) - before) / IDLE_CLIENTS
  load.kill()
  await once(load, 'exit')
  return bytes
}

/** Publishes per second, one event each, 64 under way at once. */
export async function runPublishes (server: Server, what: 'topics' | 'xadd', round: number): Promise<number> {
  order(server, { kind: 'rate', what, topic: `rate-${what}-${round}`, events: SINGLE_PUBLISHES })
  return SINGLE_PUBLISHES / (await newsOf<ServerNews, 'rated'>(server.child, 'rated')).seconds
}

async function memoryOf (server: Server): Promise<number> {
  order(server, { kind: 'memory' })
  return (await newsOf<ServerNews, 'memory'>(server.child, 'memory')).bytes
}

async function finish (load: ReturnType<typeof startLoad>, redis: BenchRedis, startedAt: number, readsBefore: number): Promise<Round> {
  const { bytes, finishedAt } = await newsOf<LoadNews, 'done'>(load, 'done')
  load.kill()
  return { seconds: (finishedAt - startedAt) / 1_000, bytes, reads: await redis.reads() - readsBefore }
}
