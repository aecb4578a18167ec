import type { Test } from 'tap'
import { testTokenStore } from '../../../plugin/testing/store/index.ts'
import type { TokenStoreStage } from '../../../plugin/testing/store/contract.ts'

export { LIMITS, newHash, presented, recordOf } from '../../../plugin/testing/store/records.ts'
export type StoreStage = TokenStoreStage

/** The contract of a TokenStore as subtests of tap. */
export function testTokenStoreContract (t: Test, stage: (t: Test) => Promise<StoreStage>): void {
  testTokenStore<Test>({ test: (name, run) => t.test(name, run), stage })
}
