import t from 'tap'
import { subscribe } from '../../../plugin/client/index.ts'
import type { SubscribeOptions, Subscription } from '../../../plugin/client/index.ts'
import { listen } from '../../support/apps/app.ts'
import { buildTopicsApp, publish } from '../../support/apps/topics-app.ts'
import { provideLocks } from '../../support/browser/web-locks.ts'

/** Opens a tab. `received` are the data of its events. */
function open (options: SubscribeOptions): { tab: Subscription, received: string[], isOpen: Promise<void> } {
  const tab = subscribe({ shareAcrossTabs: true, stallTimeoutMs: 0, ...options })
  const received: string[] = []
  tab.addEventListener('message', ({ data }) => received.push(data))
  const isOpen = new Promise<void>(resolve => tab.addEventListener('open', () => resolve(), { once: true }))
  return { tab, received, isOpen }
}

const hasReceived = ({ tab, received }: ReturnType<typeof open>, wanted: string): Promise<void> =>
  new Promise(resolve => {
    const check = (): void => { if (received.includes(wanted)) resolve() }
    tab.addEventListener('message', check)
    check()
  })

// Regression: it received the older events that the shared stream contained for another tab.
t.test('a tab without a cursor starts now, also while the shared stream repeats events for another tab', async t => {
  for (const isFirst of [true, false]) {
    await t.test(isFirst ? 'they are the first tabs' : 'there was a tab before', async t => {
      provideLocks(t)
      const app = await buildTopicsApp(t)
      const url = `${await listen(app)}/events`
      const [first] = await publish(app, 'a', '1', '2', '3')
      const other = open({ url, topics: isFirst ? ['b'] : ['a'] })
      if (!isFirst) await other.isOpen
      const late = open({ url, topics: ['a'], lastEventId: first! })
      const fresh = open({ url, topics: ['a'] })
      t.teardown(() => { for (const { tab } of [other, late, fresh]) tab.close() })
      await Promise.all([late.isOpen, fresh.isOpen, hasReceived(late, '3')])
      await publish(app, 'a', '4')
      await Promise.all([late, fresh].map(tab => hasReceived(tab, '4')))
      t.same([late.received, fresh.received], [['2', '3', '4'], ['4']])
    })
  }
})
