import type { StoreChange, TokenStore } from '../../auth/one-time/token-store.ts'

/** A store that has started, what it has announced so far, and a way to let time pass in it. */
export interface TokenStoreStage {
  store: TokenStore
  /** What was passed to the `onChange` that it was started with. */
  changes: StoreChange[]
  /** Makes everything in the store older by this many ms. */
  age: (ms: number) => Promise<void>
}

/** What the suite for a token store needs; `T` is what the test runner hands to a test. */
export interface TokenStoreContract<T = unknown> {
  /** Runs a test, as `test` of `node:test` does. The tests may run one after the other or together. */
  test: (name: string, run: (context: T) => Promise<void>) => unknown
  /** Makes an empty store and starts it. Stop it when the test of the context is over. */
  stage: (context: T) => Promise<TokenStoreStage>
}
