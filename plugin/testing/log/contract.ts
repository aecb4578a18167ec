import type { TopicLog } from '../../topics/log/topic-log.ts'
import type { RetentionRule } from '../../topics/retention.ts'

/** What the suite for a log needs; `T` is the context that the test runner passes to a test. */
export interface TopicLogContract<T = unknown> {
  /** Runs a test, as `test` of `node:test` does. The tests may run one after another or concurrently. */
  test: (name: string, run: (context: T) => Promise<void>) => unknown
  /**
   * Creates and starts an empty log with these retention rules, or with the defaults. Stop it when the test of the
   * context is over.
   */
  makeLog: (context: T, retention?: readonly RetentionRule[]) => Promise<TopicLog>
}
