import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { RetentionRule, TopicLog } from '../../plugin/topics/index.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { RedisServer } from './redis/redis-server.ts'

export type MakeLog = (t: Test, retention?: readonly RetentionRule[]) => Promise<TopicLog>

/** One log of each kind, for behaviour that must be the same on all of them; the app stops it. */
export const logs: Readonly<Record<'memory' | 'LMDB' | 'Redis', MakeLog>> = {
  memory: async (_t, retention = []) => new MemoryLog({ retention }),
  async LMDB (t, retention = []) {
    const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    return new LmdbLog({ folder, retention })
  },
  async Redis (t, retention = []) {
    const server = await RedisServer.start(t)
    return new RedisLog({ connection: server.url, prefix: `${randomUUID()}:`, retention, commandTimeoutMs: 60_000 })
  }
}
