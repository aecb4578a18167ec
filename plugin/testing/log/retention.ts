import { ORIGIN } from '../../topics/ids/event-id.ts'
import type { TopicEnds } from '../../topics/log/topic-log.ts'
import { equal, match, same, until } from '../assert.ts'
import { newEvents, numbers, readAll } from './events.ts'
import type { TopicLogContract } from './contract.ts'

/** Lifetime of a topic that is inspected before it expires: long enough for a busy machine. */
const LIFE_MS = 1_000

/** What retention deletes, and what the log remembers about it. */
export function testRetention<T> ({ test, makeLog }: TopicLogContract<T>): void {
  test('the oldest events go when there are too many, also within one batch', async t => {
    const log = await makeLog(t, [{ topics: 'few.*', maxEvents: 3 }])
    await log.append('few.a', newEvents(2))
    await log.append('few.a', newEvents(3))
    await log.append('many', newEvents(5))
    same(numbers(await readAll(log, 'few.a')), [3, 4, 5])
    await log.append('few.a', newEvents(7))
    same(numbers(await readAll(log, 'few.a')), [10, 11, 12])
    const { ends } = await log.locate('few.a', ORIGIN)
    equal(ends.first?.n, 10)
    equal(ends.count, 3)
    equal((await readAll(log, 'many')).length, 5)
  })

  test('events go when they are too old, and the numbers go on', async t => {
    const log = await makeLog(t, [{ topics: 'a', maxAgeMs: 40 }])
    const { ids } = await log.append('a', newEvents(3))
    await until(async () => (await log.locate('a', ORIGIN)).ends.first === undefined)
    same((await log.locate('a', ORIGIN)).ends.last, ids[2])
    same(await readAll(log, 'a'), [])
    same((await log.append('a', newEvents(1))).ids.map(id => id.n), [4])
  })

  test('an idle topic is forgotten with its numbers, one in use is not', async t => {
    const log = await makeLog(t, [{ topics: 'idle', expireAfterMs: 60 }])
    await log.append('idle', newEvents(3))
    await log.append('kept', newEvents(3))
    await until(async () => (await log.locate('idle', ORIGIN)).ends.last.n === 0)
    same(await readAll(log, 'idle'), [])
    same((await log.append('idle', newEvents(1))).ids.map(id => id.n), [1])
    equal((await log.locate('kept', ORIGIN)).ends.last.n, 3)
  })

  test('of a topic that was forgotten the log remembers when it ended, over its next life too', async t => {
    const log = await makeLog(t, [{ topics: '*', expireAfterMs: LIFE_MS }])
    const forgotten = async (): Promise<TopicEnds> => {
      await until(async () => {
        const { last, isClosed } = (await log.locate('a', ORIGIN)).ends
        return last.n === 0 && !isClosed
      })
      return (await log.locate('a', ORIGIN)).ends
    }
    const { ids: first } = await log.append('a', newEvents(2))
    match(await forgotten(), { bornMs: 0, forgottenMs: first[0]!.ms + 1, expireAfterMs: LIFE_MS })
    const { ids: second } = await log.append('a', newEvents(1))
    match((await log.locate('a', ORIGIN)).ends, { bornMs: second[0]!.ms, forgottenMs: first[0]!.ms + 1 })
    await log.close('a')
    match(await forgotten(), { bornMs: 0, forgottenMs: second[0]!.ms + 1, isClosed: false })
    await log.close('a')
    match((await log.locate('a', ORIGIN)).ends, { forgottenMs: second[0]!.ms + 1, isClosed: true })
    match(await forgotten(), { forgottenMs: second[0]!.ms + 1, isClosed: false })
    same((await log.append('a', newEvents(1))).ids.map(id => id.n), [1])
  })
}
