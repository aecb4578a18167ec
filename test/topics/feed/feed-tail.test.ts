import t from 'tap'
import { createFrame } from '../../../plugin/reply/frame.ts'
import { FeedTail } from '../../../plugin/topics/feed/feed-tail.ts'

function push (tail: FeedTail, text: string): void {
  const index = tail.nextIndex
  const frame = createFrame(text === '' ? [] : [text], 1)
  const place = { index: index + 1, positions: [], closed: new Map(), cursor: '' }
  tail.push({ index, frame, bytes: text.length, place, gap: undefined })
}

t.test('drops the oldest batches down to a number of bytes, and keeps the newest ones if asked', async t => {
  const tail = new FeedTail()
  for (const text of ['aaaa', 'bbb', 'cc']) push(tail, text)
  tail.dropTo(5, 0)
  t.same([tail.bytes, tail.holds(0), tail.holds(1)], [5, false, true])
  tail.dropTo(0, 1)
  t.same([tail.bytes, tail.holds(1), tail.holds(2)], [2, false, true])
  tail.dropTo(0, 0)
  t.same([tail.bytes, tail.holds(2), tail.holds(3)], [0, false, true])
})

// Regression: they stayed until the next event, and each reopening of a topic added one.
t.test('batches without bytes are dropped as well', async t => {
  const tail = new FeedTail()
  for (const text of ['a', '', '']) push(tail, text)
  tail.dropTo(0, 0)
  t.same([tail.holds(2), tail.holds(3)], [false, true])
})

t.test('keeps a limited number of batches, even if they have no bytes', async t => {
  const tail = new FeedTail()
  for (let index = 0; index < 10_000; index++) push(tail, '')
  tail.dropTo(1_000, 0)
  t.same([tail.holds(10_000 - 4_097), tail.holds(10_000 - 4_096)], [false, true])
})
