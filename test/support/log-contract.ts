import type { Test } from 'tap'
import { errors } from '../../plugin/topics/errors.ts'
import { formatEventId, ORIGIN } from '../../plugin/topics/event-id.ts'
import { resume } from '../../plugin/topics/resume.ts'
import type { EventId } from '../../plugin/topics/event-id.ts'
import type { RetentionRule } from '../../plugin/topics/retention.ts'
import type { LogEntry, NewEvent, SeekStart, TopicEnds, TopicListener, TopicLog } from '../../plugin/topics/log/topic-log.ts'

/** Makes a fresh log with this retention; the suite stops it. */
export type MakeLog = (t: Test, retention?: readonly RetentionRule[]) => Promise<TopicLog>

export const ALL = { count: 1_000, bytes: 1024 * 1024 }

export function newEvent (data: string, event?: string, retry?: number): NewEvent {
  return { data, event, retry }
}

export function newEvents (count: number, prefix = 'e'): NewEvent[] {
  return Array.from({ length: count }, (_, at) => newEvent(`${prefix}${at + 1}`))
}

export async function readAll (log: TopicLog, topic: string, after: EventId = ORIGIN): Promise<LogEntry[]> {
  const all: LogEntry[] = []
  for (;;) {
    const page = await log.read(topic, all.at(-1)?.id ?? after, ALL)
    if (page.length === 0) return all
    all.push(...page)
  }
}

const numbers = (entries: readonly LogEntry[]): number[] => entries.map(entry => entry.id.n)
const dataOf = (entries: readonly LogEntry[]): string[] => entries.map(entry => entry.data)

/** Waits until a condition on something that changes holds; for what a log does by its own clock. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => setTimeout(resolve, 5))
}

/** Collects what a log tells of a topic. */
export class Recorder implements TopicListener {
  readonly entries: LogEntry[] = []
  closed = 0
  doubts = 0
  readonly stops: number[] = []
  onEntries (entries: readonly LogEntry[]): void { this.entries.push(...entries) }
  onClosed (): void { this.closed++ }
  onDoubt (): void { this.doubts++ }
  onStop (fence: number): void { this.stops.push(fence) }
}

/** The contract of a TopicLog; every implementation passes all of it. */
export function testLogContract (t: Test, makeLog: MakeLog): void {
  testAppend(t, makeLog)
  testRead(t, makeLog)
  testEnds(t, makeLog)
  testFollow(t, makeLog)
  testRetention(t, makeLog)
}

function testAppend (t: Test, makeLog: MakeLog): void {
  t.test('numbers are dense from 1 and times never go back', async t => {
    const log = await makeLog(t)
    const ids: EventId[] = []
    for (let at = 0; at < 20; at++) ids.push(...(await log.append('a', [newEvent(`${at}`)])).ids)
    t.same(ids.map(id => id.n), Array.from({ length: 20 }, (_, at) => at + 1))
    t.ok(ids.every((id, at) => at === 0 || id.ms >= ids[at - 1]!.ms))
    t.ok(Math.abs(ids[0]!.ms - Date.now()) < 60_000, 'the time is Unix time in ms')
  })

  t.test('every field of an event comes back as it was', async t => {
    const log = await makeLog(t)
    const events = [newEvent('plain'), newEvent('', 'empty'), newEvent('line\nline\r\nü 😀 "\\', 'näme'), newEvent('r', undefined, 0), newEvent('0'.repeat(100_000), 'big', 3_600_000)]
    await log.append('fields', events)
    t.same((await readAll(log, 'fields')).map(({ id, ...event }) => event), events)
  })

  t.test('a batch stands together, also beside other publishers', async t => {
    const log = await makeLog(t)
    const batches = await Promise.all(Array.from({ length: 30 }, (_, at) => log.append('a', newEvents(5, `${at}-`))))
    for (const { ids } of batches) t.same(ids.map(id => id.n - ids[0]!.n), [0, 1, 2, 3, 4])
    const entries = await readAll(log, 'a')
    t.same(numbers(entries), Array.from({ length: 150 }, (_, at) => at + 1))
    for (const [at, { ids }] of batches.entries()) t.same(dataOf(entries.slice(ids[0]!.n - 1, ids[0]!.n + 4)), newEvents(5, `${at}-`).map(event => event.data))
  })

  t.test('topics do not touch each other', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(2, 'a'))
    await log.append('b', newEvents(1, 'b'))
    t.same(dataOf(await readAll(log, 'a')), ['a1', 'a2'])
    t.same(dataOf(await readAll(log, 'b')), ['b1'])
  })

  t.test('an idempotency key used again gives the first ids and appends nothing', async t => {
    const log = await makeLog(t)
    const first = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    await log.append('a', newEvents(1))
    const again = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    t.equal(first.isRepeat, false)
    t.same(again, { ids: first.ids, isRepeat: true })
    t.equal((await readAll(log, 'a')).length, 4)
    t.equal((await log.append('b', newEvents(1), { idempotencyKey: 'k' })).isRepeat, false, 'a key belongs to its topic')
  })

  t.test('of concurrent appends with one key exactly one appends', async t => {
    const log = await makeLog(t)
    const results = await Promise.all(Array.from({ length: 20 }, () => log.append('a', newEvents(2), { idempotencyKey: 'k' })))
    t.equal(results.filter(result => !result.isRepeat).length, 1)
    for (const { ids } of results) t.same(ids.map(id => id.n), [1, 2])
    t.equal((await readAll(log, 'a')).length, 2)
  })

  // A publisher of the same topic that guesses a key must neither swallow the events of another nor learn their ids.
  t.test('a key belongs to its publisher: the same key of another one appends', async t => {
    const log = await makeLog(t)
    const publishers = [undefined, '', 'mallory', 'shop', 'shop ', 'k', 'ü'.repeat(2_000)]
    for (const [at, publisher] of publishers.entries()) {
      const appended = await log.append('orders', [newEvent(`paid by ${publisher}`)], { idempotencyKey: 'order-17', publisher })
      t.same({ n: appended.ids[0]?.n, isRepeat: appended.isRepeat }, { n: at + 1, isRepeat: false }, `${publisher}`)
    }
    const again = await log.append('orders', [newEvent('paid by shop')], { idempotencyKey: 'order-17', publisher: 'shop' })
    t.same({ n: again.ids[0]?.n, isRepeat: again.isRepeat }, { n: 4, isRepeat: true })
    t.equal((await readAll(log, 'orders')).length, publishers.length)
  })

  // Acknowledged before: a second order with the key of the first one was dropped, and answered with the ids of the first.
  t.test('a key used again for other events is an error, and appends nothing', async t => {
    const log = await makeLog(t)
    const first = [newEvent('ab', 'x', 5), newEvent('c')]
    const { ids } = await log.append('a', first, { idempotencyKey: 'k' })
    const others = [
      [newEvent('ab', 'x', 5)], [newEvent('c'), newEvent('ab', 'x', 5)], [newEvent('ab', 'x', 5), newEvent('c'), newEvent('')], [newEvent('abc', 'x', 5), newEvent('')],
      [newEvent('b', 'xa', 5), newEvent('c')], [newEvent('ab', 'x', 6), newEvent('c')], [newEvent('ab', 'x'), newEvent('c')], [newEvent('ab', undefined, 5), newEvent('c')]
    ]
    for (const events of others) {
      await t.rejects(log.append('a', events, { idempotencyKey: 'k' }), { code: 'TOPICS_IDEMPOTENCY_KEY_REUSED', statusCode: 422, message: /key "k" was already used for other events in topic "a"/ })
    }
    t.same(await log.append('a', first, { idempotencyKey: 'k' }), { ids, isRepeat: true })
    await log.close('a')
    t.same(await log.append('a', first, { idempotencyKey: 'k' }), { ids, isRepeat: true }, 'also when the topic is closed by now')
    t.equal((await readAll(log, 'a')).length, 2)
  })

  // Above 20,000 events, which the service allows, the stack overflowed while the command was queued: the process ended, and
  // publishers of the same turn got the ids of others.
  t.test('the largest batch is appended whole, and appends of the same turn get ids of their own', async t => {
    const log = await makeLog(t, [{ topics: '*', maxEvents: 200_000 }])
    for (const topic of ['b', 'c']) await log.append(topic, newEvents(topic === 'b' ? 20 : 30))
    const [b, large, c] = await Promise.all([
      log.append('b', newEvents(1)), log.append('large', newEvents(100_000), { idempotencyKey: 'k' }), log.append('c', newEvents(1))
    ])
    t.same([b.ids[0]?.n, c.ids[0]?.n, large.ids.length], [21, 31, 100_000])
    const again = await log.append('large', newEvents(100_000), { idempotencyKey: 'k' })
    t.same([again.isRepeat, again.ids.length, again.ids.at(-1)], [true, 100_000, large.ids.at(-1)])
    t.equal((await log.locate('large', ORIGIN)).ends.count, 100_000)
    t.same(dataOf(await log.read('large', large.ids.at(-3)!, ALL)), ['e99999', 'e100000'])
  })

  t.test('a key is remembered for its time, and not longer', async t => {
    const log = await makeLog(t, [{ topics: 'a', idempotencyMs: 30 }])
    await log.append('a', newEvents(1), { idempotencyKey: 'k' })
    await until(async () => !(await log.append('a', newEvents(1), { idempotencyKey: 'k' })).isRepeat)
    t.equal((await readAll(log, 'a')).length, 2)
  })
}

function testRead (t: Test, makeLog: MakeLog): void {
  t.test('pages are bounded by count and by bytes, and joined they are the log', async t => {
    const log = await makeLog(t)
    await log.append('a', Array.from({ length: 50 }, (_, at) => newEvent(`${at}`.padEnd(1_000))))
    t.equal((await log.read('a', ORIGIN, { count: 7, bytes: 1e6 })).length, 7)
    t.equal((await log.read('a', ORIGIN, { count: 100, bytes: 3_500 })).length, 3)
    t.equal((await log.read('a', ORIGIN, { count: 100, bytes: 1 })).length, 1, 'at least one')
    const seen: number[] = []
    for (let after: EventId = ORIGIN; ;) {
      const page = await log.read('a', after, { count: 4, bytes: 2_500 })
      if (page.length === 0) break
      seen.push(...numbers(page))
      after = page.at(-1)!.id
    }
    t.same(seen, Array.from({ length: 50 }, (_, at) => at + 1))
  })

  t.test('a read after the end, or of a topic that is not there, is empty', async t => {
    const log = await makeLog(t)
    const { ids } = await log.append('a', newEvents(1))
    t.same(await log.read('a', ids[0]!, ALL), [])
    t.same(await log.read('none', ORIGIN, ALL), [])
  })

  t.test('seek finds the position before the last events, and before those of a time', async t => {
    const log = await makeLog(t)
    t.same(await log.seek('none', { last: 5 }), ORIGIN)
    t.same(await log.seek('none', { withinMs: 1_000 }), ORIGIN)
    await log.append('a', newEvents(6))
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > (await log.locate('a', ORIGIN)).ends.last.ms + 20)
    const { ids } = await log.append('a', newEvents(3, 'late'))
    const after = async (start: SeekStart) => dataOf(await readAll(log, 'a', await log.seek('a', start)))
    t.same(await after({ last: 2 }), ['late2', 'late3'])
    t.same(await after({ last: 0 }), [])
    t.equal((await after({ last: 9 })).length, 9)
    t.equal((await after({ last: 100 })).length, 9)
    t.equal((await after({ withinMs: 60_000 })).length, 9)
    await until(async () => (await log.locate('a', ORIGIN)).ends.nowMs > ids[0]!.ms + 20)
    t.same(await after({ withinMs: 1 }), [])
  })

  // Positions were made up of the time of one event and the number of another, and a client that came back with one was not
  // recognised: a false gap, and everything retained again.
  t.test('every position that seek finds is one that the resume rule recognises, also when what it lies before is trimmed', async t => {
    const log = await makeLog(t, [{ topics: 'a', maxEvents: 12 }])
    for (let round = 0; round < 5; round++) {
      const { ids } = await log.append('a', newEvents(3))
      const now = async (): Promise<number> => (await log.locate('a', ORIGIN)).ends.nowMs
      await until(async () => await now() > ids[0]!.ms)
      const { ends: { nowMs } } = await log.locate('a', ORIGIN)
      const starts = [...Array.from({ length: 16 }, (_, last) => ({ last })), ...Array.from({ length: 16 }, (_, at) => ({ withinMs: nowMs - ids[0]!.ms + at }))]
      for (const start of starts) {
        const position = await log.seek('a', start)
        t.same(resume(position, await log.locate('a', position)), { position }, JSON.stringify(start))
      }
    }
    const position = await log.seek('a', { last: 12 })
    await log.append('a', newEvents(5))
    t.match(resume(position, await log.locate('a', position)), { gap: { reason: 'trimmed', missed: 5 } })
  })
}

function testEnds (t: Test, makeLog: MakeLog): void {
  t.test('locate tells both ends, and whether this very entry is there', async t => {
    const log = await makeLog(t)
    t.match(await log.locate('a', ORIGIN), { ends: { first: undefined, last: ORIGIN, count: 0, bornMs: 0, forgottenMs: 0, isClosed: false, jumps: [] }, exists: false })
    const { ids } = await log.append('a', newEvents(3))
    const { ends, exists } = await log.locate('a', ids[1]!)
    t.match({ ends, exists }, { ends: { first: ids[0], last: ids[2], count: 3, bornMs: ids[0]!.ms, isClosed: false }, exists: true })
    t.ok(ends.nowMs >= ids[2]!.ms, "the log's clock")
    t.equal((await log.locate('a', { ms: ids[1]!.ms + 1, n: 2 })).exists, false)
    t.equal((await log.locate('a', { ms: ids[2]!.ms, n: 4 })).exists, false)
  })

  t.test('a closed topic takes no more events, and says so', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(1), { idempotencyKey: 'k' })
    await log.close('a')
    await log.close('a')
    t.equal((await log.locate('a', ORIGIN)).ends.isClosed, true)
    await t.rejects(log.append('a', newEvents(1)), { code: 'TOPICS_CLOSED', statusCode: 409 })
    t.equal((await log.append('a', newEvents(1), { idempotencyKey: 'k' })).isRepeat, true, 'a repeat of an earlier append is answered')
    await log.close('never used')
    await t.rejects(log.append('never used', newEvents(1)), errors.TOPICS_CLOSED)
  })

  t.test('a deleted topic is empty and open again, and its numbers go on', async t => {
    const log = await makeLog(t)
    const { ids } = await log.append('a', newEvents(3), { idempotencyKey: 'k' })
    await log.close('a')
    await log.delete('a')
    await log.delete('never used')
    const { ends } = await log.locate('a', ids[2]!)
    t.match(ends, { first: undefined, last: ids[2], count: 0, bornMs: ids[0]!.ms, isClosed: false })
    t.same(await readAll(log, 'a'), [])
    t.same((await log.append('a', newEvents(1))).ids.map(id => id.n), [4])
    t.equal((await log.append('a', newEvents(3), { idempotencyKey: 'k' })).isRepeat, true, 'what was published once is not published again')
  })
}

function testFollow (t: Test, makeLog: MakeLog): void {
  // The publisher was told that its events, which were stored, had failed; in Redis the error of one ended the process.
  t.test('a listener that throws fails neither a publish nor the listeners of other topics', async t => {
    const log = await makeLog(t)
    const calls: string[] = []
    const fail = (name: string) => () => {
      calls.push(name)
      throw new Error(name)
    }
    const recorder = new Recorder()
    await log.follow('a', { onEntries: fail('entries'), onClosed: fail('closed'), onDoubt: fail('doubt'), onStop: fail('stop') })
    await log.follow('b', recorder)
    await log.append('a', newEvents(1))
    await log.close('a')
    await log.delete('a')
    t.equal((await log.append('a', newEvents(1))).ids[0]?.n, 2)
    await log.append('b', newEvents(1))
    await until(() => calls.length === 4 && recorder.entries.length === 1)
    t.same(calls, ['entries', 'closed', 'doubt', 'entries'])
  })

  t.test('a follower hears everything appended after the ends it was given, in order', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(2, 'before'))
    const recorder = new Recorder()
    const running = Promise.all(Array.from({ length: 20 }, (_, at) => log.append('a', newEvents(2, `during${at}-`))))
    const ends = await log.follow('a', recorder)
    await running
    const { ids } = await log.append('a', [newEvent('after', 'name', 5)])
    await until(() => recorder.entries.at(-1)?.id.n === 43)
    const heard = recorder.entries.filter(entry => entry.id.n > ends.last.n)
    t.same(numbers(heard), Array.from({ length: 43 - ends.last.n }, (_, at) => ends.last.n + 1 + at))
    t.same(heard.at(-1), { id: ids[0], data: 'after', event: 'name', retry: 5 })
  })

  t.test('a follower hears of closing and deleting, and nothing after it unfollowed', async t => {
    const log = await makeLog(t)
    const recorder = new Recorder()
    await log.follow('a', recorder)
    await log.append('a', newEvents(1))
    await log.close('a')
    await until(() => recorder.closed + recorder.doubts > 0)
    const doubts = recorder.doubts + recorder.closed
    await log.delete('a')
    await until(() => recorder.doubts + recorder.closed > doubts)
    await log.unfollow('a', recorder)
    await log.unfollow('never followed', recorder)
    const other = new Recorder()
    await log.follow('b', other)
    await log.append('a', newEvents(1))
    await log.append('b', newEvents(1))
    await until(() => other.entries.length === 1)
    t.equal(recorder.entries.length, 1)
  })

  // A topic whose last reader left and whose next one came in the same turn of the loop: the old follower's leaving
  // took the new one's place away, and nobody heard anything any more.
  t.test('a topic can be followed again, and a follower that leaves late does not take the new one along', async t => {
    const log = await makeLog(t)
    const old = new Recorder()
    await log.follow('a', old)
    await log.unfollow('a', old)
    const recorder = new Recorder()
    await log.follow('a', recorder)
    await log.unfollow('a', old)
    const { ids } = await log.append('a', newEvents(1))
    await until(() => recorder.entries.length > 0)
    t.equal(formatEventId(recorder.entries[0]!.id), formatEventId(ids[0]!))
  })
}

/** Of a topic that is looked at while it lives: long enough for a busy machine. */
const LIFE_MS = 1_000

function testRetention (t: Test, makeLog: MakeLog): void {
  t.test('the oldest events go when there are too many, also within one batch', async t => {
    const log = await makeLog(t, [{ topics: 'few.*', maxEvents: 3 }])
    await log.append('few.a', newEvents(2))
    await log.append('few.a', newEvents(3))
    await log.append('many', newEvents(5))
    t.same(numbers(await readAll(log, 'few.a')), [3, 4, 5])
    await log.append('few.a', newEvents(7))
    t.same(numbers(await readAll(log, 'few.a')), [10, 11, 12])
    const { ends } = await log.locate('few.a', ORIGIN)
    t.equal(ends.first?.n, 10)
    t.equal(ends.count, 3)
    t.equal((await readAll(log, 'many')).length, 5)
  })

  t.test('events go when they are too old, and the numbers go on', async t => {
    const log = await makeLog(t, [{ topics: 'a', maxAgeMs: 40 }])
    const { ids } = await log.append('a', newEvents(3))
    await until(async () => (await log.locate('a', ORIGIN)).ends.first === undefined)
    t.same((await log.locate('a', ORIGIN)).ends.last, ids[2])
    t.same(await readAll(log, 'a'), [])
    t.same((await log.append('a', newEvents(1))).ids.map(id => id.n), [4])
  })

  t.test('an idle topic is forgotten with its numbers, one in use is not', async t => {
    const log = await makeLog(t, [{ topics: 'idle', expireAfterMs: 60 }])
    await log.append('idle', newEvents(3))
    await log.append('kept', newEvents(3))
    await until(async () => (await log.locate('idle', ORIGIN)).ends.last.n === 0)
    t.same(await readAll(log, 'idle'), [])
    t.same((await log.append('idle', newEvents(1))).ids.map(id => id.n), [1])
    t.equal((await log.locate('kept', ORIGIN)).ends.last.n, 3)
  })

  t.test('of a topic that was forgotten the log remembers when it ended, over its next life too', async t => {
    const log = await makeLog(t, [{ topics: '*', expireAfterMs: LIFE_MS }])
    const forgotten = async (): Promise<TopicEnds> => {
      await until(async () => {
        const { last, isClosed } = (await log.locate('a', ORIGIN)).ends
        return last.n === 0 && !isClosed
      })
      return (await log.locate('a', ORIGIN)).ends
    }
    const { ids: first } = await log.append('a', newEvents(2))
    t.match(await forgotten(), { bornMs: 0, forgottenMs: first[0]!.ms + 1, expireAfterMs: LIFE_MS })
    const { ids: second } = await log.append('a', newEvents(1))
    t.match((await log.locate('a', ORIGIN)).ends, { bornMs: second[0]!.ms, forgottenMs: first[0]!.ms + 1 })
    await log.close('a')
    t.match(await forgotten(), { bornMs: 0, forgottenMs: second[0]!.ms + 1, isClosed: false })
    await log.close('a')
    t.match((await log.locate('a', ORIGIN)).ends, { forgottenMs: second[0]!.ms + 1, isClosed: true })
    t.match(await forgotten(), { forgottenMs: second[0]!.ms + 1, isClosed: false })
    t.same((await log.append('a', newEvents(1))).ids.map(id => id.n), [1])
  })
}
