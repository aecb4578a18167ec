import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import t from 'tap'
import type { Test } from 'tap'
import { Lifetimes } from '../../../../plugin/topics/log/lifetimes.ts'
import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import type { LmdbFiles } from '../../../../plugin/topics/log/lmdb/lmdb-files.ts'
import { LmdbSweep } from '../../../../plugin/topics/log/lmdb/lmdb-sweep.ts'
import type { RetentionRule } from '../../../../plugin/topics/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { newEvents, readAll } from '../../../support/log-contract.ts'
import { silentLogger } from '../../../support/redis/redis-server.ts'

/** A log whose clock is set by the test. */
async function openLog (
  t: Test,
  retention: RetentionRule[]
): Promise<{ log: LmdbLog, folder: string, clock: { now: number } }> {
  const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
  const clock = { now: 1_000 }
  const log = new LmdbLog({ folder, durability: 'process', retention, now: () => clock.now })
  await log.start(silentLogger)
  t.teardown(async () => {
    await log.stop()
    await rm(folder, { recursive: true, force: true })
  })
  return { log, folder, clock }
}

const DAY_MS = 86_400_000

/** The number of records in the files of a stopped log. */
async function countRecords (folder: string): Promise<Record<string, number>> {
  const root = open({ path: join(folder, 'topics.mdb'), noSubdir: true, maxDbs: 3 })
  const counts = Object.fromEntries(['entries', 'topics', 'keys'].map(name => [
    name, root.openDB({ name }).getKeysCount()
  ]))
  await root.close()
  return counts
}

async function appendTimes (log: LmdbLog, topic: string, times: number): Promise<void> {
  for (let at = 0; at < times; at++) await log.append(topic, newEvents(1))
}

// A topic per answer or build is used once: without the sweep each would stay in the files forever.
t.test('expired topics are removed from the files even if nobody requests them', async t => {
  const { log, folder, clock } = await openLog(t, [{ topics: 'build.*', expireAfterMs: 100 }])
  for (let at = 0; at < 50; at++) await log.append(`build.${at}`, newEvents(3))
  clock.now += 100
  await appendTimes(log, 'other', 60)
  t.match(
    (await log.locate('build.7', ORIGIN)).ends,
    { last: ORIGIN, forgottenMs: 1_001 },
    'for a day it is remembered that the topic existed'
  )
  clock.now += DAY_MS
  await appendTimes(log, 'other', 60)
  t.match((await log.locate('build.7', ORIGIN)).ends, { last: ORIGIN, forgottenMs: 0 })
  await log.stop()
  t.same(await countRecords(folder), { entries: 120, topics: 1, keys: 0 })
})

t.test('when expireAfterMs is changed to 0, existing topics are kept, and so is the next life after a ttlMs', async t => {
  const { log: before, folder, clock } = await openLog(t, [{ topics: '*', expireAfterMs: 100 }])
  await before.append('old', newEvents(3))
  await before.stop()
  clock.now += 1_000
  const log = new LmdbLog({
    folder, durability: 'process', retention: [{ topics: '*', expireAfterMs: 0 }], now: () => clock.now
  })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  await log.lease('answer', { do: 'take', holder: 'h', leaseMs: 100, takeOver: false, ttlMs: 100 })
  clock.now += 1_000
  await log.append('answer', newEvents(2))
  clock.now += 30 * DAY_MS
  await appendTimes(log, 'other', 10)
  t.same((await readAll(log, 'old')).map(({ id }) => id.n), [1, 2, 3])
  t.same((await readAll(log, 'answer')).map(({ id }) => id.n), [1, 2])
  t.equal((await log.append('old', newEvents(1))).ids[0]!.n, 4)
})

t.test('a long expired topic is removed in steps, and counts as new from the start', async t => {
  const { log, folder, clock } = await openLog(t, [{ topics: 'long', expireAfterMs: 100 }])
  await log.append('long', newEvents(2_500))
  clock.now += 100
  await appendTimes(log, 'other', 2)
  t.equal((await log.locate('long', ORIGIN)).ends.last.n, 0)
  await log.append('long', newEvents(2, 'new'))
  t.same((await readAll(log, 'long')).map(entry => entry.data), ['new1', 'new2'])
  clock.now += 100
  await appendTimes(log, 'other', 10)
  clock.now += DAY_MS
  await appendTimes(log, 'other', 10)
  await log.stop()
  t.same(await countRecords(folder), { entries: 22, topics: 1, keys: 0 })
})

t.test('an expired topic that is used again at once contains nothing of its earlier life', async t => {
  const { log, folder, clock } = await openLog(t, [{ topics: 'a', expireAfterMs: 100 }])
  await log.append('a', newEvents(30))
  clock.now += 100
  await log.close('a')
  t.match((await log.locate('a', ORIGIN)).ends, {
    first: undefined, last: ORIGIN, count: 0, bornMs: 0, forgottenMs: 1_001, isClosed: true
  })
  await log.stop()
  t.same(await countRecords(folder), { entries: 0, topics: 1, keys: 0 })
})

t.test('expired idempotency keys are removed from the files', async t => {
  const { log, folder, clock } = await openLog(t, [{ topics: 'short', idempotencyMs: 100 }])
  for (let at = 0; at < 20; at++) await log.append('short', newEvents(1), { idempotencyKey: `k${at}` })
  await log.append('kept', newEvents(1), { idempotencyKey: 'k' })
  clock.now += 100
  t.equal((await log.append('kept', newEvents(1), { idempotencyKey: 'k' })).isRepeat, true)
  t.equal((await log.append('short', newEvents(1), { idempotencyKey: 'k0' })).isRepeat, false)
  await appendTimes(log, 'other', 30)
  await log.stop()
  t.equal((await countRecords(folder)).keys, 2)
})

t.test('events that are too old are removed from the files with the next append', async t => {
  const { log, folder, clock } = await openLog(t, [{ topics: 'a', maxAgeMs: 100 }])
  await log.append('a', newEvents(10))
  clock.now += 50
  await log.append('a', newEvents(5))
  clock.now += 60
  t.equal((await log.locate('a', ORIGIN)).ends.count, 5, 'at once for readers')
  await log.append('a', newEvents(1))
  t.equal((await log.locate('a', ORIGIN)).ends.first?.n, 11)
  await log.stop()
  t.equal((await countRecords(folder)).entries, 6)
})

// Only a damaged record is passed over; an error of the library concerns the whole transaction.
t.test('an error of LMDB itself fails the append', async t => {
  const failure = new Error('MDB_BAD_TXN')
  const db = { topics: { getKeys: () => ['a'], get: () => { throw failure } } } as unknown as LmdbFiles
  t.throws(() => new LmdbSweep(new Lifetimes(undefined, Date.now)).some(db), failure)
})

t.test('a clock that is set back does not change the order of ids', async t => {
  const { log, clock } = await openLog(t, [])
  await log.append('a', newEvents(1))
  clock.now = 500
  t.same((await log.append('a', newEvents(1))).ids, [{ ms: 1_000, n: 2 }])
})

t.test('invalid options are rejected by name', async t => {
  for (const [name, options] of Object.entries({
    folder: { folder: '' },
    durability: { folder: 'a', durability: 'none' as 'disk' },
    durabilty: { folder: 'a', durabilty: 'disk' },
    now: { folder: 'a', now: 5 as never },
    'retention\\[0\\].maxEvents': { folder: 'a', retention: [{ topics: '*', maxEvents: 0 }] }
  })) {
    t.throws(() => new LmdbLog(options), { code: 'TOPICS_BAD_OPTION', message: new RegExp(`option "${name}" must be`) })
  }
})
