import type * as IoRedis from 'ioredis'
import { requirePeer } from '../peer.ts'

/** The classes of ioredis, an optional peer dependency; their types are imported from ioredis itself. */
export const { Cluster: ClusterClient, Redis: RedisClient } = requirePeer<typeof IoRedis>('ioredis', 'Redis')
