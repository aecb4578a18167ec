import { Registry } from 'prom-client'
import t from 'tap'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import type { LogHealth, TopicLog } from '../../../plugin/topics/index.ts'
import { MeteredLog } from '../../../service/metrics/metered-log.ts'

/** A log with connections that do not work. */
class BrokenLog extends MemoryLog implements TopicLog {
  readonly health: LogHealth = { isHealthy: false, canaryAgeMs: 0, reconnects: 0, replaced: 0, problem: 'OOM' }
}

// Regression: the topics did not see that the log had already reported its problem, and logged an error of their own.
t.test('a metered log has the health of the log', async t => {
  t.match(new MeteredLog(new BrokenLog(), new Registry()).health, { problem: 'OOM' })
  t.equal(new MeteredLog(new MemoryLog(), new Registry()).health, undefined)
})
