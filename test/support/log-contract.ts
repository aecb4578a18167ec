import type { Test } from 'tap'
import { testTopicLog } from '../../plugin/testing/log/index.ts'
import type { RetentionRule } from '../../plugin/topics/retention.ts'
import type { TopicLog } from '../../plugin/topics/log/topic-log.ts'

export { ALL, newEvent, newEvents, readAll, Recorder } from '../../plugin/testing/log/events.ts'

/** Creates a new log with this retention. */
export type MakeLog = (t: Test, retention?: readonly RetentionRule[]) => Promise<TopicLog>

/** The contract of a TopicLog as subtests of tap. */
export function testLogContract (t: Test, makeLog: MakeLog): void {
  testTopicLog<Test>({ test: (name, run) => t.test(name, run), makeLog })
}
