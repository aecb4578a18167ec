import type * as IoRedis from 'ioredis'
import { requirePeer } from '../peer.ts'

/** The classes of ioredis, an optional peer. */
export const { Cluster, Redis } = requirePeer<typeof IoRedis>('ioredis', 'Redis')
export type Cluster = IoRedis.Cluster
export type Redis = IoRedis.Redis
