import type { TokenStoreContract } from './contract.ts'
import { testRevocation } from './revocation.ts'
import { testSessions } from './sessions.ts'
import { testTokens } from './tokens.ts'

/**
 * The contract of a `TokenStore`, as tests: an implementation that passes them can replace the stores of this package.
 */
export function testTokenStore<T> (contract: TokenStoreContract<T>): void {
  testTokens(contract)
  testSessions(contract)
  testRevocation(contract)
}
