import { MemoryLog } from 'fastify-resumable-sse/topics'
import type { RetentionRule, TopicLog } from 'fastify-resumable-sse/topics'
import type { ServiceConfig } from './config/config.ts'
import { redisConnection } from './config/redis/redis-connection.ts'

/** Creates the log that the configuration names, and loads only what this one needs; nothing is opened yet. */
export async function createLog (config: ServiceConfig): Promise<TopicLog> {
  const retention = retentionRules(config)
  const { prefix, canaryMs, replicas, replicasTimeoutMs } = config
  switch (config.log) {
    case 'memory':
      return new MemoryLog({ retention })
    case 'lmdb': {
      const { LmdbLog } = await import('fastify-resumable-sse/topics/lmdb')
      return new LmdbLog({ folder: config.dataDir, durability: config.durability, retention })
    }
    case 'redis': {
      const { RedisLog } = await import('fastify-resumable-sse/topics/redis')
      return new RedisLog({
        connection: redisConnection(config),
        prefix,
        canaryMs,
        replicas,
        replicasTimeoutMs,
        retention
      })
    }
  }
}

/** A setting that a rule omits has the value that applies to all topics. */
function retentionRules ({
  maxEvents,
  maxAgeMs,
  expireAfterMs,
  idempotencyMs,
  retention = []
}: ServiceConfig): RetentionRule[] {
  const all = { topics: '*', maxEvents, maxAgeMs, expireAfterMs, idempotencyMs }
  return [...retention.map(rule => ({ ...all, ...rule })), all]
}

/** Where events are kept, as the start-up message says it. */
export function describeLog ({ log, dataDir }: ServiceConfig): string {
  switch (log) {
    case 'memory': return 'events in memory: they are lost when the process ends'
    case 'lmdb': return `events on disk, in ${dataDir}`
    case 'redis': return 'events in Redis'
  }
}
