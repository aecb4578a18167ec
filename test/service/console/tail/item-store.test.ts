import t from 'tap'
import { ItemStore } from '../../../../service/console/tail/item-store.ts'
import { noticeOf } from '../../../../service/console/tail/item.ts'

const MEGA = 1024 * 1024

// Only data was counted: 2,000 events with names of 256 KB kept 500 MB.
t.test('the console keeps a bounded number of characters, whichever text of an event is long', t => {
  for (const long of ['topic', 'id', 'event', 'data', 'cursor']) {
    const store = new ItemStore()
    for (let i = 0; i < 20; i++) store.add({ ...noticeOf('notice', '', ''), [long]: 'x'.repeat(MEGA) })
    t.equal(store.items.length, 8, long)
    t.equal(store.find(19)?.seq, 19)
    t.equal(store.find(11), undefined)
  }
  const store = new ItemStore()
  store.add(noticeOf('notice', '', 'x'.repeat(9 * MEGA)))
  t.equal(store.items.length, 1, 'the newest is always kept')
  for (let i = 0; i < 2_010; i++) store.add(noticeOf('notice', '', ''))
  t.equal(store.items.length, 2_000)
  store.clear()
  t.equal(store.items.length, 0)
  t.equal(store.find(0), undefined)
  t.end()
})
