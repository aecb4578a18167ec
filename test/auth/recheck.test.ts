import t from 'tap'
import { Recheck } from '../../plugin/auth/recheck.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import type { Deferred } from '../../plugin/common/deferred.ts'
import { buildApp } from '../support/app.ts'

// Changes that were missed are asked for when the store says so. A check under way may have read the store before them: it counted
// as the answer, and the streams went on until the next one.
t.test('a doubt is not settled by a check that began before it', async t => {
  const app = await buildApp(t)
  const begun: Deferred<void>[] = []
  const check = (): Promise<void> => {
    const answer = deferred<void>()
    begun.push(answer)
    return answer.promise
  }
  const recheck = new Recheck({ checks: [check], everyMs: 600_000, log: app.log })
  t.teardown(() => recheck.stop())
  const [round, joined, doubt] = [recheck.run(), recheck.run(), recheck.runAnew()]
  t.equal(begun.length, 1, 'one at a time')
  begun[0]!.settle()
  await Promise.all([round, joined])
  await new Promise(resolve => setImmediate(resolve))
  t.equal(begun.length, 2)
  begun[1]!.settle()
  await doubt
  const again = recheck.runAnew()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(begun.length, 3, 'at once where none is under way')
  begun[2]!.settle()
  await again
})
