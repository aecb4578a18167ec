import type { StoreChange, TokenStore } from '../../auth/one-time/token-store.ts'

/** A started store, its announcements so far, and a way to let time pass in it. */
export interface TokenStoreStage {
  store: TokenStore
  /** The changes passed to its `onChange`. */
  changes: StoreChange[]
  /** Ages everything in the store by this many ms. */
  age: (ms: number) => Promise<void>
}

/** What the suite for a token store needs; `T` is the context that the test runner passes to a test. */
export interface TokenStoreContract<T = unknown> {
  /** Runs a test, as `test` of `node:test` does. The tests may run one after another or concurrently. */
  test: (name: string, run: (context: T) => Promise<void>) => unknown
  /** Creates and starts an empty store. Stop it when the test of the context is over. */
  stage: (context: T) => Promise<TokenStoreStage>
}
