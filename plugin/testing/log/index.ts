import { testAppend } from './append.ts'
import type { TopicLogContract } from './contract.ts'
import { testEnds } from './ends.ts'
import { testFollow } from './follow.ts'
import { testLeases } from './leases.ts'
import { testRead } from './read.ts'
import { testRetention } from './retention.ts'

/**
 * The contract of a `TopicLog`, as tests: an implementation that passes them can replace the logs of this package. They
 * wait a few seconds in total for effects that depend on the log's clock; if an expected effect never happens, they
 * wait until the time limit of your test runner.
 */
export function testTopicLog<T> (contract: TopicLogContract<T>): void {
  testAppend(contract)
  testRead(contract)
  testEnds(contract)
  testFollow(contract)
  testLeases(contract)
  testRetention(contract)
}
