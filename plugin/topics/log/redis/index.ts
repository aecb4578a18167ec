export { RedisLog } from './redis-log.ts'
export type { RedisLogOptions } from './redis-log-options.ts'
export type { RedisConnection } from '../../../common/redis/redis-target.ts'
