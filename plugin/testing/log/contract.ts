import type { TopicLog } from '../../topics/log/topic-log.ts'
import type { RetentionRule } from '../../topics/retention.ts'

/** What the suite for a log needs; `T` is what the test runner hands to a test. */
export interface TopicLogContract<T = unknown> {
  /** Runs a test, as `test` of `node:test` does. The tests may run one after the other or together. */
  test: (name: string, run: (context: T) => Promise<void>) => unknown
  /**
   * Makes an empty log with these rules, the defaults without any, and starts it. Stop it when the test of the context is
   * over.
   */
  makeLog: (context: T, retention?: readonly RetentionRule[]) => Promise<TopicLog>
}
