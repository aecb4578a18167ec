import { mock } from 'node:test'
import t from 'tap'
import { RateWindows } from '../../../plugin/auth/one-time/rate-windows.ts'
import { ask } from '../../support/auth/auth-app.ts'
import { startTokenApp } from '../../support/auth/token-app.ts'

/** Counts one event, or only reads. */
function use (windows: RateWindows, how: 'incr' | 'read', key: string): { current: number, ttl: number } {
  let seen = { current: NaN, ttl: NaN }
  windows[how](key, (error, result) => { if (!error) seen = result }, 60_000)
  return seen
}

t.test('with more keys than the maximum, the least recent one is forgotten; limits count separately', async t => {
  const windows = new RateWindows()
  const count = (key: string): number => use(windows, 'incr', key).current
  t.same(['a', 'b', 'a'].map(count), [1, 1, 2])
  t.equal(use(windows.child(), 'read', 'a').current, 0)
  for (let at = 0; at < 9_999; at++) count(`${at}`)
  t.same([count('a'), count('b')], [3, 1])
})

t.test('looking counts nothing, and after the end of a window a new one starts', async t => {
  const windows = new RateWindows()
  let nowMs = 0
  mock.method(performance, 'now', () => nowMs)
  t.teardown(() => mock.restoreAll())
  t.same(use(windows, 'read', 'a'), { current: 0, ttl: 60_000 })
  t.same(use(windows, 'incr', 'a'), { current: 1, ttl: 60_000 })
  nowMs = 59_999
  t.same([use(windows, 'read', 'a'), use(windows, 'read', 'a')], [{ current: 1, ttl: 1 }, { current: 1, ttl: 1 }])
  nowMs = 60_000
  t.same(use(windows, 'read', 'a'), { current: 0, ttl: 60_000 })
})

// Regression: the library's own store uses the wall clock: a client at its limit was rejected until the old time was
// reached again.
t.test('a clock that is set back does not lock out clients that have reached a limit', async t => {
  const { origin } = await startTokenApp(t, { maxFailures: 1, limitWindowMs: 500 })
  const status = async (): Promise<number> =>
    (await ask(t, `${origin}/events?ot=${'A'.repeat(43)}`, { accept: '*/*' })).status
  const until = async (wanted: number): Promise<void> => { while (await status() !== wanted); }
  await until(429)
  const { now } = Date
  t.intercept(Date, 'now', { value: () => now() - 3_600_000, configurable: true })
  await until(401)
})
