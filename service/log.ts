import { MemoryLog } from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import type { RetentionRule, TopicLog } from 'fastify-resumable-sse/topics'
import type { ServiceConfig } from './config/config.ts'

/** Makes the log that the configuration names; nothing is opened yet. A log in Redis has a URL, or there is no configuration. */
export function createLog ({ log, dataDir, durability, redisUrl, canaryMs, maxEvents, maxAgeMs, expireAfterMs }: ServiceConfig): TopicLog {
  const retention: RetentionRule[] = [{ topics: '*', maxEvents, maxAgeMs, expireAfterMs }]
  switch (log) {
    case 'memory': return new MemoryLog({ retention })
    case 'lmdb': return new LmdbLog({ folder: dataDir, durability, retention })
    case 'redis': return new RedisLog({ connection: redisUrl!, canaryMs, retention })
  }
}

/** Where events are, in the words of the start-up message. */
export function describeLog ({ log, dataDir }: ServiceConfig): string {
  switch (log) {
    case 'memory': return 'events in memory: they go with the process'
    case 'lmdb': return `events on disk, in ${dataDir}`
    case 'redis': return 'events in Redis'
  }
}
