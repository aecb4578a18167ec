export { RedisTokenStore } from './one-time/redis-token-store.ts'
export type { RedisTokenStoreOptions } from './one-time/redis-token-store.ts'
export type { RedisConnection } from '../common/redis/redis-target.ts'
