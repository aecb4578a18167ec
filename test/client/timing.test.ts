import { mock } from 'node:test'
import t from 'tap'
import { Backoff } from '../../plugin/client/connection/backoff.ts'
import { StallWatch } from '../../plugin/client/connection/stall-watch.ts'
import { subscribe } from '../../plugin/client/index.ts'
import type { ConnectionSink, Transport } from '../../plugin/client/index.ts'

t.test('after a stream it waits for the time that the server asks for, and up to a quarter more', async t => {
  for (const random of [0, 0.5, 0.999]) {
    const backoff = new Backoff({ initialMs: 3_000, maxMs: 30_000 }, () => random)
    t.equal(backoff.afterStream(), 3_000 * (1 + random / 4))
    backoff.askedFor(10_000)
    t.equal(backoff.afterStream(), 10_000 * (1 + random / 4))
    backoff.askedFor(Infinity)
    t.equal(backoff.afterStream(), 3_600_000 * (1 + random / 4), 'at most an hour')
    // Regression: a server that sent 0 and ended each stream got 300 requests per second.
    backoff.askedFor(0)
    t.equal(backoff.afterStream(), 100 * (1 + random / 4), 'and at least a tenth of a second')
  }
})

// Regression: the additional quarter made the delay longer than the maximum of a timer, which then fires immediately: a
// client that was asked to wait for 24 days connected 1,000 times a second.
t.test('the longest configurable time never exceeds the maximum delay of a timer', async t => {
  const longest = 2 ** 31 - 1
  const backoff = new Backoff({ initialMs: longest, maxMs: longest }, () => 1)
  t.equal(backoff.afterStream(), longest)
  for (let failure = 0; failure < 3; failure++) t.equal(backoff.afterFailure(3_600_000), longest)
})

t.test('after failures it waits between half and all of a bound that doubles, up to the longest time', async t => {
  const longest = new Backoff({ initialMs: 3_000, maxMs: 30_000 }, () => 1)
  t.same(Array.from({ length: 6 }, () => longest.afterFailure()), [3_000, 6_000, 12_000, 24_000, 30_000, 30_000])
  longest.reset()
  t.equal(longest.afterFailure(), 3_000)
  const shortest = new Backoff({ initialMs: 3_000, maxMs: 30_000 }, () => 0)
  t.same(Array.from({ length: 3 }, () => shortest.afterFailure()), [1_500, 3_000, 6_000])
  t.equal(shortest.afterFailure(60_000), 60_000, 'not before Retry-After')
  t.equal(new Backoff({ initialMs: 3_000, maxMs: 30_000 }, () => 1).afterFailure(60_000), 75_000, 'and spread out after it')
})

/** A watch whose clock the test controls. */
function watchAt (
  t: { teardown: (undo: () => void) => void },
  fixedMs?: number
): { watch: StallWatch, pass: (ms: number) => void, stalls: () => number } {
  const now = performance.now.bind(performance)
  let at = 0
  let stalls = 0
  performance.now = () => at
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { performance.now = now; mock.timers.reset() })
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 1_000) {
      at += Math.min(left, 1_000)
      mock.timers.tick(Math.min(left, 1_000))
    }
  }
  return { watch: new StallWatch(() => { stalls++ }, fixedMs), pass, stalls: () => stalls }
}

t.test('the window is learned from heartbeats, and doubles with each stall until the next heartbeat', async t => {
  const { watch, pass, stalls } = watchAt(t)
  watch.start()
  t.equal(watch.windowMs, 60_000, 'before any heartbeat is known')
  watch.chunk()
  watch.comment()
  t.equal(watch.windowMs, 60_000, 'the preamble does not count')
  pass(4_000)
  watch.chunk()
  pass(15_000)
  watch.chunk()
  watch.comment()
  t.equal(watch.windowMs, 37_500)
  pass(37_000)
  t.notOk(watch.isStalled)
  t.equal(stalls(), 0)
  pass(1_000)
  t.equal(stalls(), 1)
  t.equal(watch.windowMs, 75_000)
  watch.start()
  pass(75_000)
  t.equal(stalls(), 2)
  t.equal(watch.windowMs, 150_000)
  watch.start()
  watch.chunk()
  watch.comment()
  t.equal(watch.windowMs, 37_500)
  watch.stop()
  pass(1_000_000)
  t.equal(stalls(), 2)
})

t.test('the window has a minimum for frequent heartbeats and a maximum for rare ones', async t => {
  const { watch, pass } = watchAt(t)
  for (const [everyMs, windowMs] of [[1_000, 20_000], [400_000, 600_000]] as const) {
    watch.start()
    watch.chunk()
    watch.comment()
    pass(everyMs)
    watch.chunk()
    watch.comment()
    t.equal(watch.windowMs, windowMs)
  }
  watch.stop()
})

t.test('the window can be fixed, and 0 disables it', async t => {
  const { watch, pass, stalls } = watchAt(t, 5_000)
  watch.start()
  pass(5_000)
  t.equal(stalls(), 1)
  const never = new StallWatch(() => t.fail('never'), 0)
  never.start()
  pass(1_000_000)
  t.notOk(never.isStalled)
})

// Regression: the stream was considered stalled, although only the loop was slow.
t.test('while a slow loop pauses the reading, the stream is not considered stalled', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const now = performance.now.bind(performance)
  t.teardown(() => { performance.now = now })
  let later = 0
  performance.now = () => now() + later
  const pass = (): void => { later += 3_600_000; mock.timers.tick(3_600_000) }
  let use = (_sink: ConnectionSink): void => {}
  const opened = new Promise<ConnectionSink>(resolve => { use = resolve })
  const transport: Transport = (_request, sink) => { sink.open(); use(sink); return new Promise(() => {}) }
  const subscription = subscribe({ url: 'http://x.test/', transport })
  t.teardown(() => subscription.close())
  const errors: string[] = []
  subscription.addEventListener('error', ({ detail }) => errors.push(detail.message))
  const loop = subscription[Symbol.asyncIterator]()
  const sink = await opened
  for (let n = 0; n < 300; n++) sink.message({ id: undefined, event: 'message', data: '' })
  const room = sink.ready()
  pass()
  const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
  await turn()
  t.same(errors, [])
  for (let n = 0; n < 300; n++) await loop.next()
  await room
  pass()
  await turn()
  t.match(errors, [/^no bytes for/])
})
