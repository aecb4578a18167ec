import { equal, match, rejects, same, until } from '../assert.ts'
import { dataOf, newEvents, readAll, Recorder } from './events.ts'
import type { TopicLogContract } from './contract.ts'

const LONG_MS = 600_000
const LOST = { code: 'TOPICS_LEASE_LOST', statusCode: 409 }

/** The lease of a topic's producer. */
export function testLeases<T> ({ test, makeLog }: TopicLogContract<T>): void {
  const take = { do: 'take', holder: 'one', leaseMs: LONG_MS, takeOver: false } as const

  test('a topic has one producer, and another one is refused or takes over', async t => {
    const log = await makeLog(t)
    match(await log.lease('a', { do: 'look' }), { outcome: 'none', fence: 0, holder: '', isClosed: false })
    const first = await log.lease('a', take)
    match(first, { outcome: 'ok', holder: 'one', accepted: 0, mustStop: false, isClosed: false })
    match(await log.lease('a', { ...take, holder: 'two' }), { outcome: 'held', holder: 'one', fence: first.fence })
    const second = await log.lease('a', { ...take, holder: 'two', takeOver: true })
    match(second, { outcome: 'ok', holder: 'two' })
    equal(second.fence > first.fence, true)
    match(await log.lease('a', { do: 'renew', fence: first.fence }), { outcome: 'superseded' })
    const end = { do: 'end', reason: 'done', message: '' } as const
    match(await log.lease('a', { ...end, fence: first.fence }), { outcome: 'superseded', isClosed: false })
    await rejects(log.append('a', newEvents(1), { lease: { fence: first.fence, accepted: 0 } }), LOST)
    match(await log.lease('a', { ...end, fence: second.fence }), { outcome: 'ok', isClosed: true, reason: 'done' })
  })

  test('an append with a lease that is repeated is done once, also after the topic was closed', async t => {
    const log = await makeLog(t)
    const { fence } = await log.lease('a', take)
    const append = (accepted: number) => log.append('a', newEvents(2), { lease: { fence, accepted } })
    equal((await append(0)).isRepeat, false)
    same(await append(0), { ids: [], isRepeat: true })
    equal((await append(2)).isRepeat, false)
    match(await log.lease('a', { do: 'look' }), { outcome: 'ok', accepted: 4 })
    await log.lease('a', { do: 'end', fence, reason: 'failed', message: 'no more' })
    same(await append(2), { ids: [], isRepeat: true })
    await rejects(append(4), { code: 'TOPICS_CLOSED' })
    equal(dataOf(await readAll(log, 'a')).length, 4)
    await log.close('a')
    match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'failed', message: 'no more' })
  })

  test('a lease that runs out closes the topic as lost', async t => {
    const log = await makeLog(t)
    const { fence } = await log.lease('a', { ...take, leaseMs: 50 })
    await until(async () => (await log.locate('a', { ms: 0, n: 0 })).ends.isClosed)
    match((await log.locate('a', { ms: 0, n: 0 })).ends, { isClosed: true, reason: 'lost', leaseMs: undefined })
    match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'lost' })
    await rejects(log.append('a', newEvents(1), { lease: { fence, accepted: 0 } }), { code: 'TOPICS_CLOSED' })
    await rejects(log.append('a', newEvents(1)), { code: 'TOPICS_CLOSED' })
  })

  test('a close and a delete take the lease away, and a deleted topic has its next producer', async t => {
    const log = await makeLog(t)
    const closed = await log.lease('a', take)
    await log.close('a')
    match(await log.lease('a', { do: 'renew', fence: closed.fence }), { outcome: 'closed', reason: 'closed' })
    await log.delete('a')
    match(await log.lease('a', { do: 'renew', fence: closed.fence }), { outcome: 'superseded', isClosed: false })
    await rejects(log.append('a', newEvents(1), { lease: { fence: closed.fence, accepted: 0 } }), LOST)
    const next = await log.lease('a', take)
    equal(next.fence > closed.fence, true)
  })

  test('a follower hears of a lease, a stop and an end', async t => {
    const log = await makeLog(t)
    const recorder = new Recorder()
    await log.follow('a', recorder)
    const { fence } = await log.lease('a', take)
    await until(() => recorder.doubts === 1)
    match(await log.lease('a', { do: 'stop', fence: fence - 1 }), { outcome: 'superseded', mustStop: false })
    match(await log.lease('a', { do: 'stop', fence: undefined }), { outcome: 'ok', mustStop: true })
    await until(() => recorder.stops.length === 1)
    same(recorder.stops, [fence])
    await log.lease('a', { do: 'end', fence, reason: 'stopped', message: '' })
    await until(() => recorder.closed === 1)
    match(await log.lease('a', { do: 'stop', fence: undefined }), { outcome: 'closed', reason: 'stopped' })
  })
}
