import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { stampedData } from '../load/event-counter.ts'
import { answerCalls } from './answers.ts'

/** Publishing within a process, without HTTP. */
export interface RateLoad {
  /** `xadd` is the bare command of the same client library, on one connection. */
  log: 'xadd' | 'redis' | 'lmdb'
  /** The events are published to these in turn. */
  topics: number
  events: number
  /** Number of concurrent publishes. */
  inFlight: number
  size: number
}

const connection = process.env.REDIS_URL ?? ''
const folder = await mkdtemp(join(tmpdir(), 'bench-lmdb-'))
const redis = new Redis(connection, { enableAutoPipelining: true })
const apps: Record<'redis' | 'lmdb', FastifyInstance> = {
  redis: await start(new RedisLog({ connection })),
  lmdb: await start(new LmdbLog({ folder, durability: 'disk' }))
}

async function start (log: RedisLog | LmdbLog): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(topics, { log })
  return app.ready().then(() => app)
}

/** Seconds until all events are in the log. */
async function rate ({ log, topics, events, inFlight, size }: RateLoad): Promise<number> {
  const startedAt = performance.now()
  let begun = 0
  const publish = async (topic: string, data: string): Promise<unknown> => log === 'xadd'
    ? redis.xadd(topic, 'MAXLEN', '~', '100000', '*', 'd', data)
    : apps[log].topics.publish(topic, { data })
  const run = async (): Promise<void> => {
    while (begun < events) await publish(`rate-${begun++ % topics}`, stampedData(size))
  }
  await Promise.all(Array.from({ length: inFlight }, run))
  return (performance.now() - startedAt) / 1e3
}

async function stop (): Promise<void> {
  redis.disconnect()
  for (const app of Object.values(apps)) await app.close()
  await rm(folder, { recursive: true })
}

const server = createServer()
server.listen(0, '127.0.0.1', () => answerCalls(server, { rate, stop }))
