export { LmdbTokenStore } from './one-time/lmdb-token-store.ts'
export type { LmdbTokenStoreOptions } from './one-time/lmdb-token-store.ts'
