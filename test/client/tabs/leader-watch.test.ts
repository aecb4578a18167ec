import t from 'tap'
import type { Test } from 'tap'
import { LeaderWatch } from '../../../plugin/client/tabs/leader-watch.ts'

/** The callbacks of the intervals that the test's subject starts, with their durations in ms. */
function captureIntervals (t: Test): { check: () => void, ms: number }[] {
  const started: { check: () => void, ms: number }[] = []
  t.intercept(globalThis, 'setInterval', { value: (check: () => void, ms: number) => { started.push({ check, ms }) } })
  return started
}

t.test('a leader is asked at the second check in a silence, and lost at the third', async t => {
  const intervals = captureIntervals(t)
  const calls: string[] = []
  const watch = new LeaderWatch(() => calls.push('ask'), () => calls.push('lost'), 5_000)
  const [{ check, ms } = { check: () => {}, ms: 0 }] = intervals
  t.equal(ms, 2_500)
  check()
  watch.heard()
  check()
  t.same(calls, [])
  check()
  check()
  t.same(calls, ['ask', 'lost'])
  watch.stop()
})

t.test('a leader that answers when it is asked is kept', async t => {
  const intervals = captureIntervals(t)
  const watch: LeaderWatch = new LeaderWatch(() => watch.heard(), () => t.fail('lost'))
  for (let round = 0; round < 9; round++) intervals[0]!.check()
  t.equal(intervals[0]!.ms, 10_000)
})

t.test('with 0 nothing is watched', async t => {
  const intervals = captureIntervals(t)
  new LeaderWatch(() => t.fail('asked'), () => t.fail('lost'), 0).stop()
  t.same(intervals, [])
})
