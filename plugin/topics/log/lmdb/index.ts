export { LmdbLog } from './lmdb-log.ts'
export type { LmdbLogOptions } from './lmdb-log-options.ts'
