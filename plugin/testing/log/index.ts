import { testAppend } from './append.ts'
import type { TopicLogContract } from './contract.ts'
import { testEnds } from './ends.ts'
import { testFollow } from './follow.ts'
import { testLeases } from './leases.ts'
import { testRead } from './read.ts'
import { testRetention } from './retention.ts'

/**
 * The contract of a `TopicLog`, as tests: whatever passes them can take the place of the logs of this package. They wait
 * for what a log does by its own clock, a few seconds in all; for what never happens they wait until your runner's limit.
 */
export function testTopicLog<T> (contract: TopicLogContract<T>): void {
  testAppend(contract)
  testRead(contract)
  testEnds(contract)
  testFollow(contract)
  testLeases(contract)
  testRetention(contract)
}
