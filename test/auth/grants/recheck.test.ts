import t from 'tap'
import { Recheck } from '../../../plugin/auth/grants/recheck.ts'
import { deferred } from '../../../plugin/common/deferred.ts'
import type { Deferred } from '../../../plugin/common/deferred.ts'
import { buildApp } from '../../support/apps/app.ts'

// Missed changes are requested when the store reports that there may be some. A check in progress may have read the
// store before those changes: it counted as the answer, and the streams continued until the next check.
t.test('a reported loss of messages is not settled by a check that started before it', async t => {
  const app = await buildApp(t)
  const begun: Deferred<void>[] = []
  const check = (): Promise<void> => {
    const answer = deferred<void>()
    begun.push(answer)
    return answer.promise
  }
  const recheck = new Recheck({ checks: [check], everyMs: 600_000, log: app.log })
  t.teardown(() => recheck.stop())
  const [round, joined, resynced] = [recheck.run(), recheck.run(), recheck.runAnew()]
  t.equal(begun.length, 1, 'one at a time')
  begun[0]!.settle()
  await Promise.all([round, joined])
  await new Promise(resolve => setImmediate(resolve))
  t.equal(begun.length, 2)
  begun[1]!.settle()
  await resynced
  const again = recheck.runAnew()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(begun.length, 3, 'at once if no check is in progress')
  begun[2]!.settle()
  await again
})
