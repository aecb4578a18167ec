import { ORIGIN } from '../../topics/ids/event-id.ts'
import type { EventId } from '../../topics/ids/event-id.ts'
import { equal, ok, rejects, same, until } from '../assert.ts'
import { ALL, dataOf, newEvent, newEvents, numbers, readAll } from './events.ts'
import type { TopicLogContract } from './contract.ts'

/** Appending, and idempotency keys. */
export function testAppend<T> ({ test, makeLog }: TopicLogContract<T>): void {
  test('numbers are dense from 1 and times never go back', async t => {
    const log = await makeLog(t)
    const ids: EventId[] = []
    for (let at = 0; at < 20; at++) ids.push(...(await log.append('a', [newEvent(`${at}`)])).ids)
    same(ids.map(id => id.n), Array.from({ length: 20 }, (_, at) => at + 1))
    ok(ids.every((id, at) => at === 0 || id.ms >= ids[at - 1]!.ms))
    ok(Math.abs(ids[0]!.ms - Date.now()) < 60_000, 'the time is Unix time in ms')
  })

  test('every field of an event comes back as it was', async t => {
    const log = await makeLog(t)
    const events = [
      newEvent('plain'),
      newEvent('', 'empty'),
      newEvent('line\nline\r\nü 😀 "\\', 'näme'),
      newEvent('r', undefined, 0),
      newEvent('0'.repeat(100_000), 'big', 3_600_000)
    ]
    await log.append('fields', events)
    same((await readAll(log, 'fields')).map(({ id, ...event }) => event), events)
  })

  test('a batch stands together, also beside other publishers', async t => {
    const log = await makeLog(t)
    const batches = await Promise.all(Array.from({ length: 30 }, (_, at) => log.append('a', newEvents(5, `${at}-`))))
    for (const { ids } of batches) same(ids.map(id => id.n - ids[0]!.n), [0, 1, 2, 3, 4])
    const entries = await readAll(log, 'a')
    same(numbers(entries), Array.from({ length: 150 }, (_, at) => at + 1))
    for (const [at, { ids }] of batches.entries()) {
      const { n } = ids[0]!
      same(dataOf(entries.slice(n - 1, n + 4)), newEvents(5, `${at}-`).map(event => event.data))
    }
  })

  test('topics do not touch each other', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(2, 'a'))
    await log.append('b', newEvents(1, 'b'))
    same(dataOf(await readAll(log, 'a')), ['a1', 'a2'])
    same(dataOf(await readAll(log, 'b')), ['b1'])
  })

  test('an idempotency key used again gives the first ids and appends nothing', async t => {
    const log = await makeLog(t)
    const first = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    await log.append('a', newEvents(1))
    const again = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    equal(first.isRepeat, false)
    same(again, { ids: first.ids, isRepeat: true })
    equal((await readAll(log, 'a')).length, 4)
    equal((await log.append('b', newEvents(1), { idempotencyKey: 'k' })).isRepeat, false, 'a key belongs to its topic')
  })

  test('of concurrent appends with one key exactly one appends', async t => {
    const log = await makeLog(t)
    const append = () => log.append('a', newEvents(2), { idempotencyKey: 'k' })
    const results = await Promise.all(Array.from({ length: 20 }, append))
    equal(results.filter(result => !result.isRepeat).length, 1)
    for (const { ids } of results) same(ids.map(id => id.n), [1, 2])
    equal((await readAll(log, 'a')).length, 2)
  })

  // A publisher of the same topic that guesses a key must neither suppress the events of another nor learn their ids.
  test('a key belongs to its publisher: the same key of another one appends', async t => {
    const log = await makeLog(t)
    const publishers = [undefined, '', 'mallory', 'shop', 'shop ', 'k', 'ü'.repeat(2_000)]
    for (const [at, publisher] of publishers.entries()) {
      const options = { idempotencyKey: 'order-17', publisher }
      const appended = await log.append('orders', [newEvent(`paid by ${publisher}`)], options)
      same({ n: appended.ids[0]?.n, isRepeat: appended.isRepeat }, { n: at + 1, isRepeat: false }, `${publisher}`)
    }
    const ofShop = { idempotencyKey: 'order-17', publisher: 'shop' }
    const again = await log.append('orders', [newEvent('paid by shop')], ofShop)
    same({ n: again.ids[0]?.n, isRepeat: again.isRepeat }, { n: 4, isRepeat: true })
    equal((await readAll(log, 'orders')).length, publishers.length)
  })

  // Regression: a second order with the key of the first was acknowledged, but dropped, and answered with the ids of
  // the first.
  test('a key used again for other events is an error, and appends nothing', async t => {
    const log = await makeLog(t)
    const first = [newEvent('ab', 'x', 5), newEvent('c')]
    const { ids } = await log.append('a', first, { idempotencyKey: 'k' })
    const others = [
      [newEvent('ab', 'x', 5)],
      [newEvent('c'), newEvent('ab', 'x', 5)],
      [newEvent('ab', 'x', 5), newEvent('c'), newEvent('')],
      [newEvent('abc', 'x', 5), newEvent('')],
      [newEvent('b', 'xa', 5), newEvent('c')],
      [newEvent('ab', 'x', 6), newEvent('c')],
      [newEvent('ab', 'x'), newEvent('c')],
      [newEvent('ab', undefined, 5), newEvent('c')]
    ]
    for (const events of others) {
      await rejects(log.append('a', events, { idempotencyKey: 'k' }), { code: 'TOPICS_IDEMPOTENCY_KEY_REUSED', statusCode: 422, message: /key "k" was already used for other events in topic "a"/ })
    }
    same(await log.append('a', first, { idempotencyKey: 'k' }), { ids, isRepeat: true })
    await log.close('a')
    const afterClose = await log.append('a', first, { idempotencyKey: 'k' })
    same(afterClose, { ids, isRepeat: true }, 'also when the topic is closed by now')
    equal((await readAll(log, 'a')).length, 2)
  })

  // Regression: above 20,000 events, a size that the service allows, queuing a command overflowed the stack: the
  // process ended, and publishers of the same tick received the ids of others.
  test('the largest batch is appended whole, and appends of the same turn get ids of their own', async t => {
    const log = await makeLog(t, [{ topics: '*', maxEvents: 200_000 }])
    for (const topic of ['b', 'c']) await log.append(topic, newEvents(topic === 'b' ? 20 : 30))
    const [b, large, c] = await Promise.all([
      log.append('b', newEvents(1)),
      log.append('large', newEvents(100_000), { idempotencyKey: 'k' }),
      log.append('c', newEvents(1))
    ])
    same([b.ids[0]?.n, c.ids[0]?.n, large.ids.length], [21, 31, 100_000])
    const again = await log.append('large', newEvents(100_000), { idempotencyKey: 'k' })
    same([again.isRepeat, again.ids.length, again.ids.at(-1)], [true, 100_000, large.ids.at(-1)])
    equal((await log.locate('large', ORIGIN)).ends.count, 100_000)
    same(dataOf(await log.read('large', large.ids.at(-3)!, ALL)), ['e99999', 'e100000'])
  })

  test('a key is remembered for its time, and not longer', async t => {
    const log = await makeLog(t, [{ topics: 'a', idempotencyMs: 30 }])
    await log.append('a', newEvents(1), { idempotencyKey: 'k' })
    await until(async () => !(await log.append('a', newEvents(1), { idempotencyKey: 'k' })).isRepeat)
    equal((await readAll(log, 'a')).length, 2)
  })
}
