import { equal, match, rejects, same, until } from '../assert.ts'
import { dataOf, newEvents, readAll, Recorder } from './events.ts'
import type { TopicLogContract } from './contract.ts'

const LONG_MS = 600_000
const TTL_MS = 500
const KEPT_MS = 1_000
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

  test('the first request of a producer after its lease has run out notifies the follower, once', async t => {
    const log = await makeLog(t)
    const heard = new Recorder()
    await log.follow('a', heard)
    const { fence } = await log.lease('a', { ...take, leaseMs: 50 })
    await until(async () => (await log.locate('a', { ms: 0, n: 0 })).ends.isClosed)
    match(await log.lease('a', { do: 'renew', fence }), { outcome: 'closed', reason: 'lost' })
    await until(() => heard.closed > 0)
    match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'lost' })
    await log.append('b', newEvents(1))
    equal(heard.closed, 1)
  })

  test('a topic is not forgotten before the lease of its producer has run out, and then it is lost first', async t => {
    const log = await makeLog(t)
    const { fence } = await log.lease('a', { ...take, leaseMs: KEPT_MS, ttlMs: KEPT_MS })
    await log.append('a', newEvents(1), { lease: { fence, accepted: 0 } })
    let look = await log.lease('a', { do: 'look' })
    await until(async () => (look = await log.lease('a', { do: 'look' })).outcome !== 'ok')
    match(look, { outcome: 'closed', reason: 'lost' })
    equal((await readAll(log, 'a')).length, 1)
    await until(async () => !(await log.locate('a', { ms: 0, n: 0 })).ends.isClosed)
    equal((await readAll(log, 'a')).length, 0)
  })

  test('a topic whose lease has run out is closed for a delete with ifClosed, although nobody has looked', async t => {
    const log = await makeLog(t)
    await log.lease('a', { ...take, leaseMs: 50 })
    equal(await log.delete('a', { ifClosed: true }), false)
    await until(async () => log.delete('a', { ifClosed: true }))
    match(await log.lease('a', { do: 'look' }), { isClosed: false, holder: '' })
  })

  test('a topic whose lease has run out was lost, also when it is closed before anybody has looked', async t => {
    const log = await makeLog(t)
    await log.lease('a', { ...take, leaseMs: 50 })
    await until(async () => (await log.locate('a', { ms: 0, n: 0 })).ends.isClosed)
    await log.close('a')
    match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'lost' })
  })

  test('a lease that the log has lost is restored, unless it knows of a later one', async t => {
    const log = await makeLog(t)
    const held = { fence: 5, holder: 'one', leaseMs: LONG_MS, accepted: 3 }
    const restore = { do: 'restore', ...held, ttlMs: 2 * LONG_MS } as const
    match(await log.lease('a', restore), { outcome: 'ok', fence: 5, holder: 'one', accepted: 3, mustStop: false })
    equal((await log.locate('a', { ms: 0, n: 0 })).ends.expireAfterMs, 2 * LONG_MS)
    await log.append('a', newEvents(1), { lease: { fence: 5, accepted: 3 } })
    match(await log.lease('a', restore), { outcome: 'ok', accepted: 4 })
    match(await log.lease('a', { ...restore, fence: 6 }), { outcome: 'superseded', fence: 5 })
    await log.delete('a')
    match(await log.lease('a', restore), { outcome: 'superseded', fence: 5, holder: '' })
    const { ttlMs, ...asBefore } = restore
    match(await log.lease('a', { ...asBefore, fence: 6 }), { outcome: 'ok', fence: 6 })
    equal((await log.locate('a', { ms: 0, n: 0 })).ends.expireAfterMs, ttlMs)
    await log.close('a')
    match(await log.lease('a', { ...restore, fence: 7 }), { outcome: 'closed', fence: 6 })
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
    await until(() => recorder.resyncs === 1)
    match(await log.lease('a', { do: 'stop', fence: fence - 1 }), { outcome: 'superseded', mustStop: false })
    match(await log.lease('a', { do: 'stop', fence: undefined }), { outcome: 'ok', mustStop: true })
    await until(() => recorder.stops.length === 1)
    same(recorder.stops, [fence])
    await log.lease('a', { do: 'end', fence, reason: 'stopped', message: '' })
    await until(() => recorder.closed === 1)
    match(await log.lease('a', { do: 'stop', fence: undefined }), { outcome: 'closed', reason: 'stopped' })
  })

  test('a lease is continued by its holder only, with a new fencing number, and its events count on', async t => {
    const log = await makeLog(t)
    const first = await log.lease('a', { ...take, resumeAfter: 0 })
    await log.append('a', newEvents(3), { lease: { fence: first.fence, accepted: 0 } })
    const refused = await log.lease('a', { ...take, holder: 'two', resumeAfter: 0 })
    match(refused, { outcome: 'held', holder: 'one', accepted: 3 })
    match(await log.lease('a', take), { outcome: 'held', fence: first.fence })
    match(await log.lease('a', { ...take, resumeAfter: 4 }), { outcome: 'missing', fence: first.fence, accepted: 3 })
    match(await log.lease('b', { ...take, resumeAfter: 1 }), { outcome: 'missing', fence: 0, isClosed: false })
    const second = await log.lease('a', { ...take, leaseMs: 2 * LONG_MS, resumeAfter: 2 })
    match(second, { outcome: 'ok', accepted: 3, leaseMs: 2 * LONG_MS, mustStop: false })
    equal(second.fence > first.fence, true)
    await rejects(log.append('a', newEvents(1), { lease: { fence: first.fence, accepted: 3 } }), LOST)
    await log.append('a', newEvents(1), { lease: { fence: second.fence, accepted: 3 } })
    await log.lease('a', { do: 'stop', fence: second.fence })
    match(await log.lease('a', { ...take, resumeAfter: 0 }), { outcome: 'ok', accepted: 4, mustStop: true })
    const other = { ...take, holder: 'two', takeOver: true, resumeAfter: 0 }
    match(await log.lease('a', other), { outcome: 'ok', holder: 'two', accepted: 0, mustStop: false })
  })

  test('a topic is kept for as long as its producer asked, from the last request of that producer on', async t => {
    const log = await makeLog(t)
    const { fence } = await log.lease('a', { ...take, ttlMs: TTL_MS })
    await log.append('a', newEvents(1), { lease: { fence, accepted: 0 } })
    const ends = async () => (await log.locate('a', { ms: 0, n: 0 })).ends
    match(await ends(), { count: 1, expireAfterMs: TTL_MS })
    // Twice as long as an idle topic is kept: the events of a producer that has nothing to append must not expire.
    for (const until = Date.now() + 2 * TTL_MS; Date.now() < until;) await log.lease('a', { do: 'renew', fence })
    match(await ends(), { count: 1 })
    match(await log.lease('a', { do: 'end', fence, reason: 'done', message: '' }), { outcome: 'ok' })
    match(await ends(), { count: 1, isClosed: true })
    await until(async () => (await ends()).count === 0)
    match(await ends(), { isClosed: false, last: { ms: 0, n: 0 } })
    await log.append('a', newEvents(1))
    equal((await ends()).expireAfterMs === TTL_MS, false)
  })
}
