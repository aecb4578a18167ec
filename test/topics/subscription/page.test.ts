import t from 'tap'
import type { Test } from 'tap'
import { PLAIN } from '../../../plugin/topics/feed/frames.ts'
import type { TopicEnds } from '../../../plugin/topics/log/topic-log.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { surroundingsOf, topicTag } from '../../../plugin/topics/ids/cursor.ts'
import type { Surroundings } from '../../../plugin/topics/ids/cursor.ts'
import { Page, sliceWithin } from '../../../plugin/topics/subscription/page.ts'
import { ORIGIN } from '../../../plugin/topics/ids/event-id.ts'
import { newEvent } from '../../support/log-contract.ts'

async function pageOf (datas: readonly string[]): Promise<Page> {
  const log = new MemoryLog()
  await log.append('a', datas.map(data => newEvent(data)))
  const entries = await log.read('a', ORIGIN, { count: 1_000, bytes: 1024 * 1024 })
  const { ends }: { ends: TopicEnds } = await log.locate('a', ORIGIN)
  return new Page('a', entries, ends, PLAIN)
}

/** The surroundings of the position of topic `a`, which is the second of the sorted topics. */
function around (first: number, last: number): Surroundings {
  const tags = ['A', 'a', 'b'].map(topicTag)
  return surroundingsOf(tags, [{ ms: 1, n: first }, ORIGIN, { ms: 2, n: last }], 1)
}

function sameSlices (t: Test, page: Page, around: Surroundings, name: string): void {
  const wanted = [...sliceWithin(page.entries, around)]
  const found = [...page.slicesWithin(around)]
  t.same(found.map(({ last }) => last.id), wanted.map(({ last }) => last.id), `${name}: the end of each slice`)
  t.same(found.map(({ frame }) => frame.events), wanted.map(({ frame }) => frame.events), `${name}: events`)
  t.same(text(found.map(({ frame }) => frame.bytes)), text(wanted.map(({ frame }) => frame.bytes)), `${name}: bytes`)
  t.same(
    text(found.flatMap(({ frame }) => frame.chunk!)),
    text(wanted.flatMap(({ frame }) => frame.chunk!)),
    `${name}: chunks`
  )
}

function text (buffers: readonly Buffer[]): string[] {
  return buffers.map(bytes => bytes.toString())
}

t.test('each reader of several topics receives the entries with its own cursor, whatever others received', async t => {
  const page = await pageOf(Array.from({ length: 900 }, (_, at) => `${at} `.padEnd(at % 300, 'é')))
  t.ok([...page.slicesWithin(around(1, 1))].length > 2, 'several slices')
  sameSlices(t, page, around(1, 1), 'the first')
  sameSlices(t, page, around(2, 1), 'another position before')
  sameSlices(t, page, around(1, 2), 'another position after')
  sameSlices(t, page, around(3, 4), 'both')
  sameSlices(t, page, around(1_000_000, 1), 'a longer one before')
  sameSlices(t, page, around(1_000_000, 1_000_000), 'a longer one after')
  sameSlices(t, page, around(1, 1), 'the first again')
})

t.test('a slice of one reader does not change when another one reads', async t => {
  const page = await pageOf(['x', 'y'])
  const [first] = page.slicesWithin(around(1, 1))
  const before = first!.frame.bytes.toString()
  const [second] = page.slicesWithin(around(2, 2))
  t.equal(first!.frame.bytes.toString(), before)
  t.not(second!.frame.bytes.toString(), before)
})

t.test('a cursor of many topics is also written correctly around the entries', async t => {
  const page = await pageOf(['x', 'y'])
  const topics = Array.from({ length: 40 }, (_, at) => `topic${at}`)
  const positions = topics.map((_, at) => ({ ms: 1_700_000_000_000, n: at }))
  for (const at of [0, 20, 39]) {
    const around = surroundingsOf(topics.map(topicTag), positions, at)
    sameSlices(t, page, around, `at ${at}`)
    t.match([...page.slicesWithin(around)][0]!.frame.bytes.toString().split('\n')[0]!.split(','), { length: 40 })
  }
})

t.test('an entry that is larger than a slice is a separate slice', async t => {
  const page = await pageOf(['x', 'y'.repeat(100_000), 'z'])
  sameSlices(t, page, around(1, 1), 'the first')
  sameSlices(t, page, around(2, 2), 'the second')
})
