import { ORIGIN } from '../../topics/ids/event-id.ts'
import type { EventId } from '../../topics/ids/event-id.ts'
import type { SeekStart } from '../../topics/log/topic-log.ts'
import { resume } from '../../topics/ids/resume.ts'
import { equal, match, same, until } from '../assert.ts'
import { ALL, dataOf, newEvent, newEvents, numbers, readAll } from './events.ts'
import type { TopicLogContract } from './contract.ts'

/** Reading pages, and finding where to start. */
export function testRead<T> ({ test, makeLog }: TopicLogContract<T>): void {
  test('pages are bounded by count and by bytes, and joined they are the log', async t => {
    const log = await makeLog(t)
    await log.append('a', Array.from({ length: 50 }, (_, at) => newEvent(`${at}`.padEnd(1_000))))
    equal((await log.read('a', ORIGIN, { count: 7, bytes: 1e6 })).length, 7)
    equal((await log.read('a', ORIGIN, { count: 100, bytes: 3_500 })).length, 3)
    equal((await log.read('a', ORIGIN, { count: 100, bytes: 1 })).length, 1, 'at least one')
    const seen: number[] = []
    for (let after: EventId = ORIGIN; ;) {
      const page = await log.read('a', after, { count: 4, bytes: 2_500 })
      if (page.length === 0) break
      seen.push(...numbers(page))
      after = page.at(-1)!.id
    }
    same(seen, Array.from({ length: 50 }, (_, at) => at + 1))
  })

  // Regression: only data was counted. 1,020 events without data, whose names had 262 KB each, were one page of 262 MB.
  test('the name of an event counts in a page, and an event without data is not free', async t => {
    const log = await makeLog(t)
    await log.append('named', Array.from({ length: 20 }, () => newEvent('', 'n'.repeat(1_000))))
    equal((await log.read('named', ORIGIN, { count: 100, bytes: 3_500 })).length, 3)
    equal((await log.read('named', ORIGIN, { count: 100, bytes: 1 })).length, 1)
    await log.append('wide', Array.from({ length: 20 }, () => newEvent('', '\u20ac'.repeat(300))))
    equal((await log.read('wide', ORIGIN, { count: 100, bytes: 3_500 })).length, 3)
    await log.append('empty', Array.from({ length: 100 }, () => newEvent('')))
    equal((await log.read('empty', ORIGIN, { count: 100, bytes: 320 })).length, 10)
  })

  test('a read after the end, or of a topic that is not there, is empty', async t => {
    const log = await makeLog(t)
    const { ids } = await log.append('a', newEvents(1))
    same(await log.read('a', ids[0]!, ALL), [])
    same(await log.read('none', ORIGIN, ALL), [])
  })

  test('seek finds the position before the last events, and before those of a time', async t => {
    const log = await makeLog(t)
    same(await log.seek('none', { last: 5 }), ORIGIN)
    same(await log.seek('none', { withinMs: 1_000 }), ORIGIN)
    await log.append('a', newEvents(6))
    const endsOf = async () => (await log.locate('a', ORIGIN)).ends
    await until(async () => (await endsOf()).nowMs > (await endsOf()).last.ms + 20)
    const { ids } = await log.append('a', newEvents(3, 'late'))
    const after = async (start: SeekStart) => dataOf(await readAll(log, 'a', await log.seek('a', start)))
    same(await after({ last: 2 }), ['late2', 'late3'])
    same(await after({ last: 0 }), [])
    equal((await after({ last: 9 })).length, 9)
    equal((await after({ last: 100 })).length, 9)
    equal((await after({ withinMs: 60_000 })).length, 9)
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > ids[0]!.ms + 20)
    same(await after({ withinMs: 1 }), [])
  })

  // Regression: positions combined the time of one event with the number of another, and a client that returned with
  // such a position was not recognised: it got a false gap and all retained events again.
  test('every position that seek finds is known to the resume rule, also when what follows it is trimmed', async t => {
    const log = await makeLog(t, [{ topics: 'a', maxEvents: 12 }])
    for (let round = 0; round < 5; round++) {
      const { ids } = await log.append('a', newEvents(3))
      const now = async (): Promise<number> => (await log.locate('a', ORIGIN)).ends.nowMs
      await until(async () => await now() > ids[0]!.ms)
      const { ends: { nowMs } } = await log.locate('a', ORIGIN)
      const starts = [
        ...Array.from({ length: 16 }, (_, last) => ({ last })),
        ...Array.from({ length: 16 }, (_, at) => ({ withinMs: nowMs - ids[0]!.ms + at }))
      ]
      for (const start of starts) {
        const position = await log.seek('a', start)
        same(resume(position, await log.locate('a', position)), { position }, JSON.stringify(start))
      }
    }
    const position = await log.seek('a', { last: 12 })
    await log.append('a', newEvents(5))
    match(resume(position, await log.locate('a', position)), { gap: { reason: 'trimmed', missed: 5 } })
  })
}
