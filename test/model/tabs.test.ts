import t from 'tap'
import type { Test } from 'tap'
import { providePages } from '../support/browser/pages.ts'
import { firstSeeds, seeds, whatIsWrong } from '../support/model/seeds.ts'
import { runTabsSchedule } from '../support/model/tabs/schedule.ts'
import { FAULT } from '../support/model/tabs/tab.ts'

t.test('each tab that shares a connection receives every event once and in order, or a gap for what it missed', async t => {
  providePages(t)
  ignoreFaults(t)
  t.same(await whatIsWrong(seeds(20), seed => runTabsSchedule(t, seed)), {})
})

/** Node reports what listeners throw as uncaught exceptions. */
function ignoreFaults (t: Test): void {
  process.setUncaughtExceptionCaptureCallback(error => { if (error.message !== FAULT) throw error })
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null))
}

/** Every third message of this kind is not delivered to other tabs. */
function lose (t: Test, kind: string): void {
  let count = 0
  t.intercept(globalThis, 'BroadcastChannel', {
    value: class extends BroadcastChannel {
      override postMessage (message: { kind: string }): void {
        if (message.kind !== kind || ++count % 3 > 0) super.postMessage(message)
      }
    },
    configurable: true
  })
}

// A model test that cannot fail proves nothing.
for (const kind of ['published', 'gap']) {
  t.test(`lost messages of the kind "${kind}" are detected`, async t => {
    lose(t, kind)
    providePages(t)
    ignoreFaults(t)
    const wrong = await whatIsWrong(firstSeeds(100), seed => runTabsSchedule(t, seed), 1, /without a gap/)
    t.not(Object.keys(wrong).length, 0)
  })
}
