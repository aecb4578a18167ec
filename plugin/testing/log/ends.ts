import { errors } from '../../topics/errors.ts'
import { ORIGIN } from '../../topics/ids/event-id.ts'
import { equal, match, ok, rejects, same } from '../assert.ts'
import { newEvents, readAll, Recorder } from './events.ts'
import type { TopicLogContract } from './contract.ts'

/** Closing and deleting a topic. */
export function testEnds<T> ({ test, makeLog }: TopicLogContract<T>): void {
  test('locate tells both ends, and whether this very entry is there', async t => {
    const log = await makeLog(t)
    const nothing = { count: 0, bornMs: 0, forgottenMs: 0, isClosed: false, skips: [] }
    match(await log.locate('a', ORIGIN), { ends: { first: undefined, last: ORIGIN, ...nothing }, exists: false })
    const { ids } = await log.append('a', newEvents(3))
    const { ends, exists } = await log.locate('a', ids[1]!)
    match(ends, { first: ids[0], last: ids[2], count: 3, bornMs: ids[0]!.ms, isClosed: false })
    equal(exists, true)
    ok(ends.nowMs >= ids[2]!.ms, "the log's clock")
    equal((await log.locate('a', { ms: ids[1]!.ms + 1, n: 2 })).exists, false)
    equal((await log.locate('a', { ms: ids[2]!.ms, n: 4 })).exists, false)
  })

  test('a closed topic takes no more events, and says so', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(1), { idempotencyKey: 'k' })
    await log.close('a')
    await log.close('a')
    equal((await log.locate('a', ORIGIN)).ends.isClosed, true)
    await rejects(log.append('a', newEvents(1)), { code: 'TOPICS_CLOSED', statusCode: 409 })
    const repeat = await log.append('a', newEvents(1), { idempotencyKey: 'k' })
    equal(repeat.isRepeat, true, 'a repeat of an earlier append is answered')
    await log.close('never used')
    await rejects(log.append('never used', newEvents(1)), errors.TOPICS_CLOSED)
  })

  test('a deleted topic is empty and open again, and its numbers go on', async t => {
    const log = await makeLog(t)
    const { ids } = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    await log.close('a')
    equal(await log.delete('a'), true)
    equal(await log.delete('never used'), true)
    const { ends } = await log.locate('a', ids[2]!)
    match(ends, { first: undefined, last: ids[2], count: 0, bornMs: ids[0]!.ms, isClosed: false })
    same(await readAll(log, 'a'), [])
    same((await log.append('a', newEvents(1))).ids.map(id => id.n), [4])
    const repeat = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    equal(repeat.isRepeat, true, 'what was published once is not published again')
  })

  test('a delete with ifClosed deletes a closed topic, once, and no other', async t => {
    const log = await makeLog(t)
    const ifClosed = { ifClosed: true }
    const recorder = new Recorder()
    await log.append('a', newEvents(2))
    await log.follow('a', recorder)
    equal(await log.delete('a', ifClosed), false)
    equal(await log.delete('never used', ifClosed), false)
    equal((await readAll(log, 'a')).length, 2)
    equal(recorder.resyncs, 0)
    await log.close('a')
    same((await Promise.all([log.delete('a', ifClosed), log.delete('a', ifClosed)])).sort(), [false, true])
    same(await readAll(log, 'a'), [])
    await log.append('a', newEvents(1))
    equal(await log.delete('a', ifClosed), false)
  })
}
