import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../../../plugin/testing/index.ts'
import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import type { LogEntry } from '../../../../plugin/topics/index.ts'
import type { LmdbLogOptions } from '../../../../plugin/topics/log/lmdb/index.ts'
import { formatEventId, ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { ALL, newEvent, newEvents, readAll, Recorder } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { LmdbProcess } from '../../../support/lmdb/lmdb-process.ts'
import { silentLogger } from '../../../support/redis/redis-server.ts'
import { buildTopicsApp } from '../../../support/apps/topics-app.ts'

const UNAVAILABLE = { code: 'TOPICS_LOG_UNAVAILABLE', statusCode: 503 }
const CORRUPT = { code: 'TOPICS_LOG_CORRUPT', statusCode: 500 }

async function tempFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function openLog (t: Test, options: LmdbLogOptions): Promise<LmdbLog> {
  const log = new LmdbLog(options)
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  return log
}

/** Replaces bytes wherever they occur in a file, which also contains old copies of what was written. */
async function damage (file: string, from: string, to: string): Promise<void> {
  const text = await readFile(file, 'latin1')
  await writeFile(file, text.replaceAll(from, to), 'latin1')
}

t.test('a folder is used by one log at a time, of this process or of another one', async t => {
  const folder = await tempFolder(t)
  const log = await openLog(t, { folder })
  const inUse = { code: 'TOPICS_LOG_IN_USE', message: new RegExp(folder) }
  await t.rejects(new LmdbLog({ folder }).start(silentLogger), inUse)
  const other = new LmdbProcess(t, { folder })
  await t.rejects(other.call({ kind: 'start' }), { code: 'TOPICS_LOG_IN_USE' })
  t.equal((await log.append('a', newEvents(1))).ids[0]?.n, 1, 'the current owner is not affected')
  await log.stop()
  await other.call({ kind: 'start' })
  t.equal((await other.call<LogEntry[]>({ kind: 'readAll', topic: 'a' })).length, 1)
  await t.rejects(log.start(silentLogger), inUse)
})

// Regression: with the usual umask everybody on the machine could read the events.
t.test('a new folder and its files are for their owner alone, whatever the umask; a folder that exists stays as it is', async t => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const root = await tempFolder(t)
  const [made, given] = [join(root, 'deep', 'made'), join(root, 'given')]
  await mkdir(given, { mode: 0o750 })
  for (const folder of [made, given]) await (await openLog(t, { folder })).append('a', newEvents(1))
  const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)
  t.same(await Promise.all([join(root, 'deep'), made, given].map(modeOf)), ['700', '700', '750'])
  for (const file of ['topics.mdb', 'topics.mdb-lock']) {
    t.same(await Promise.all([made, given].map(folder => modeOf(join(folder, file)))), ['600', '600'], file)
  }
})

t.test('the socket left behind by a killed process is taken over', async t => {
  const folder = await tempFolder(t)
  const killed = new LmdbProcess(t, { folder })
  await killed.call({ kind: 'start' })
  await killed.call({ kind: 'append', topic: 'a', data: ['kept'] })
  await killed.kill()
  t.ok(existsSync(join(folder, 'owner.1.sock')))
  const log = await openLog(t, { folder })
  t.same((await readAll(log, 'a')).map(entry => entry.data), ['kept'])
})

// Regression: the path of a socket has at most 107 characters: in a deep folder the log could not be started.
t.test('a folder with a long path is locked as well', async t => {
  const folder = join(await tempFolder(t), 'deep'.repeat(20), 'deeper'.repeat(20))
  const log = await openLog(t, { folder })
  await t.rejects(new LmdbLog({ folder }).start(silentLogger), { code: 'TOPICS_LOG_IN_USE' })
  await log.append('a', newEvents(1))
  await log.stop()
  t.equal((await readAll(await openLog(t, { folder }), 'a')).length, 1)
})

t.test('a file that is not a log is reported, and the folder is released', async t => {
  for (const content of ['not a log\n'.repeat(1_000), '\0'.repeat(8_192), 'short']) {
    const folder = await tempFolder(t)
    await writeFile(join(folder, 'topics.mdb'), content)
    await t.rejects(new LmdbLog({ folder }).start(silentLogger), { ...CORRUPT, message: /start with an empty folder/ })
    await rm(join(folder, 'topics.mdb'))
    await openLog(t, { folder })
  }
})

t.test('a file with a damaged header is reported, and an empty one is a new log', async t => {
  const folder = await tempFolder(t)
  const file = join(folder, 'topics.mdb')
  const before = await openLog(t, { folder })
  await before.append('a', newEvents(1))
  await before.stop()
  const whole = await readFile(file)
  for (const at of [18, 24, 28, 48, 90, 138, 4_096 + 24]) {
    const damaged = Buffer.from(whole)
    damaged[at] = 0x5a
    await writeFile(file, damaged)
    await t.rejects(new LmdbLog({ folder }).start(silentLogger), CORRUPT, `at ${at}`)
  }
  await writeFile(file, '')
  t.same(await readAll(await openLog(t, { folder }), 'a'), [])
})

// Accessing a page beyond the end of a memory-mapped file ends the process (SIGBUS).
t.test('a truncated file is reported by the calls that need the missing pages', async t => {
  const folder = await tempFolder(t)
  const before = await openLog(t, { folder })
  for (let at = 0; at < 50; at++) await before.append('a', newEvents(20, 'x'.repeat(500)))
  await before.stop()
  for (const bytes of [100_000, 20_000, 12_288, 8_192]) {
    await truncate(join(folder, 'topics.mdb'), bytes)
    await t.rejects(async () => {
      const log = await openLog(t, { folder })
      await readAll(log, 'a').finally(() => log.stop())
    }, CORRUPT, `${bytes}`)
  }
})

t.test('an event that was damaged on the disk is reported, never delivered', async t => {
  const folder = await tempFolder(t)
  const before = await openLog(t, { folder })
  await before.append('a', [newEvent('whole'), newEvent('Marked'), newEvent('whole too')])
  await before.stop()
  await damage(join(folder, 'topics.mdb'), 'Marked', 'Harked')
  const log = await openLog(t, { folder })
  await t.rejects(log.read('a', ORIGIN, ALL), CORRUPT)
  t.equal((await log.read('a', ORIGIN, { count: 1, bytes: 1_000 }))[0]?.data, 'whole')
  await log.append('b', newEvents(1))
  t.equal((await readAll(log, 'b')).length, 1, 'other topics are not affected')
})

t.test('a client that reaches a damaged event gets an error, and does not skip the event', async t => {
  const folder = await tempFolder(t)
  const before = await openLog(t, { folder })
  const { ids } = await before.append('a', [
    newEvent('seen'), ...newEvents(5, 'x'.repeat(100_000)), newEvent('Marked'), newEvent('whole')
  ])
  await before.stop()
  await damage(join(folder, 'topics.mdb'), 'Marked', 'Harked')
  const app = await buildTopicsApp(t, { log: new LmdbLog({ folder }) })
  const stream = await injectSse(app, { url: '/events?topic=a', headers: { 'last-event-id': formatEventId(ids[0]!) } })
  const events = await stream.end()
  t.same(events.map(({ event }) => event), ['stream.open', 'message', 'message', 'message', 'message', 'stream.error'])
  t.same(events.slice(1, 5).map(({ id }) => id), ids.slice(1, 5).map(formatEventId))
})

t.test('a damaged state of a topic is reported by every call that needs it, and nothing is appended', async t => {
  const folder = await tempFolder(t)
  const before = await openLog(t, { folder })
  await before.append('a', newEvents(2))
  await before.stop()
  await damage(join(folder, 'topics.mdb'), '"isClosed":false', '"isClosed":true ')
  const log = await openLog(t, { folder })
  await t.rejects(log.locate('a', ORIGIN), CORRUPT)
  await t.rejects(log.append('a', newEvents(1)), CORRUPT)
  await t.rejects(log.close('a'), CORRUPT)
})

// Regression: the search for expired topics within each append stopped at the damaged record, again with each append:
// nothing could be published to any topic.
t.test('a damaged state of a topic or of an idempotency key does not affect other topics', async t => {
  const folder = await tempFolder(t)
  const clock = { now: 1_000 }
  const options: LmdbLogOptions = {
    folder, now: () => clock.now, retention: [{ topics: 'old*', expireAfterMs: 100, idempotencyMs: 100 }]
  }
  const before = await openLog(t, options)
  for (const topic of ['m', 'old1', 'old2', 'z']) await before.append(topic, newEvents(7), { idempotencyKey: 'k' })
  await before.append('old1', newEvents(9), { idempotencyKey: 'damaged' })
  await before.close('old1')
  await before.stop()
  const file = join(folder, 'topics.mdb')
  await damage(file, '"isClosed":true', '"isClosed":trux')
  await damage(file, '"count":9', '"count":8')
  const log = await openLog(t, options)
  await t.rejects(log.locate('old1', ORIGIN), CORRUPT)
  await t.rejects(log.append('old1', newEvents(9), { idempotencyKey: 'damaged' }), CORRUPT)
  clock.now += 100_000_000
  for (let at = 1; at <= 20; at++) {
    t.equal((await log.append('z', newEvents(1))).ids[0]?.n, 7 + at)
    await log.append('m', newEvents(1))
  }
  await t.rejects(log.append('old1', newEvents(1)), CORRUPT)
  await log.stop()
  const { open } = await import('lmdb')
  const root = open({ path: file, noSubdir: true, maxDbs: 3 })
  const keysOf = (name: string): unknown[] => [...root.openDB({ name }).getKeys()]
  t.same(keysOf('topics'), ['m', 'old1', 'z'], 'what expired after the damaged record is removed')
  t.same(keysOf('keys'), [['old1', 'damaged']], 'all others are too old')
  await root.close()
})

t.test('an event that is missing in the files is reported', async t => {
  const folder = await tempFolder(t)
  const before = await openLog(t, { folder })
  await before.append('a', newEvents(3))
  await before.stop()
  const { open } = await import('lmdb')
  const root = open({ path: join(folder, 'topics.mdb'), noSubdir: true, maxDbs: 3 })
  await root.openDB({ name: 'entries' }).remove(['a', 2])
  await root.close()
  await t.rejects((await openLog(t, { folder })).read('a', ORIGIN, ALL), {
    ...CORRUPT, message: /event 2 of topic "a" is missing/
  })
})

for (const durability of ['disk', 'process'] as const) {
  t.test(`a process killed during a write loses nothing that it acknowledged, with durability "${durability}"`, async t => {
    const folder = await tempFolder(t)
    const acknowledged = new Map<number, string>()
    for (let round = 0; round < 5; round++) {
      const writer = new LmdbProcess(t, { folder, durability, retention: [{ topics: '*', maxEvents: 1_000_000 }] })
      await writer.call({ kind: 'start' })
      writer.order({ kind: 'appendForEver', topic: 'a' })
      await until(() => writer.acknowledged.size > 20 + round * 30)
      await writer.kill()
      for (const [n, data] of writer.acknowledged) acknowledged.set(n, data)
      const log = await openLog(t, { folder })
      const kept = await readAll(log, 'a')
      await log.stop()
      t.same(kept.map(entry => entry.id.n), Array.from(kept, (_, at) => at + 1), 'dense')
      t.same([...acknowledged]
        .filter(([n, data]) => kept[n - 1]?.data !== data)
        .map(([n]) => n), [], `${acknowledged.size} acknowledged, and all stored`)
    }
  })

  // Regression: the library starts its batches with a promise that nobody handles: the first failed write ended the
  // process. And when it was closed, it waited indefinitely for the flush of the failed write.
  t.test(`on a full disk nothing is acknowledged or lost, and writes work again when there is space, with durability "${durability}"`, async t => {
    const folder = await tempFolder(t)
    const writer = new LmdbProcess(t, { folder, durability })
    await writer.call({ kind: 'start' })
    await writer.limit(300_000)
    const append = (text: string): Promise<unknown> => writer.call({ kind: 'append', topic: 'a', data: [text, text] })
    const kept: string[] = []
    const fill = async (): Promise<void> => {
      for (;;) {
        const text = `${kept.length} `.padEnd(9_000, 'x')
        await append(text)
        kept.push(text, text)
      }
    }
    const dataNow = async (): Promise<string[]> =>
      (await writer.call<LogEntry[]>({ kind: 'readAll', topic: 'a' })).map(entry => entry.data)
    await t.rejects(fill(), { code: UNAVAILABLE.code })
    const atOnce = await Promise.allSettled(Array.from({ length: 20 }, () => append('y'.repeat(20_000))))
    t.ok(atOnce.every(result => result.status === 'rejected'), 'many concurrent writes are rejected too')
    t.same(await dataNow(), kept)
    await writer.limit()
    await append('after')
    t.same(await dataNow(), [...kept, 'after', 'after'])
    await writer.call({ kind: 'stop' })
  })

  t.test(`a log whose last write failed stops, with durability "${durability}"`, async t => {
    const writer = new LmdbProcess(t, { folder: await tempFolder(t), durability })
    await writer.call({ kind: 'start' })
    await writer.limit(100_000)
    await t.rejects(writer.call({ kind: 'append', topic: 'a', data: ['x'.repeat(200_000)] }), {
      code: UNAVAILABLE.code
    })
    await writer.call({ kind: 'stop' })
    await t.rejects(writer.call({ kind: 'append', topic: 'a', data: ['late'] }), { code: UNAVAILABLE.code })
  })
}

t.test('calls before the start and after the stop are rejected, and none hangs', async t => {
  const log = new LmdbLog({ folder: await tempFolder(t) })
  const calls: Record<string, () => Promise<unknown>> = {
    append: () => log.append('a', newEvents(1)),
    read: () => log.read('a', ORIGIN, ALL),
    locate: () => log.locate('a', ORIGIN),
    seek: () => log.seek('a', { last: 1 }),
    follow: () => log.follow('a', new Recorder()),
    close: () => log.close('a'),
    delete: () => log.delete('a')
  }
  for (const [name, call] of Object.entries(calls)) await t.rejects(call(), UNAVAILABLE, `${name} before`)
  await log.stop()
  await log.start(silentLogger)
  await log.append('a', newEvents(1))
  await log.stop()
  await log.stop()
  for (const [name, call] of Object.entries(calls)) await t.rejects(call(), UNAVAILABLE, `${name} after`)
})

t.test('stop() waits for the writes in progress, and each settles', async t => {
  const folder = await tempFolder(t)
  for (let round = 0; round < 20; round++) {
    const log = await openLog(t, { folder, durability: round % 2 === 0 ? 'disk' : 'process' })
    const writing = Promise.allSettled(Array.from({ length: 30 }, (_, at) => log.append(`t${at}`, newEvents(3))))
    await new Promise(resolve => { if (round % 3 === 0) resolve(undefined); else setImmediate(resolve) })
    await log.stop()
    const results = await writing
    const refused = results.flatMap(result => result.status === 'rejected' ? [result.reason as { code: string }] : [])
    t.same(refused.filter(({ code }) => code !== UNAVAILABLE.code), [], `${results.length - refused.length} done`)
  }
})

// Regression: it was "EEXIST, mkdir" or "listen EACCES … owner.cede33bcc85b.new", which names nothing that the user has
// set.
t.test('an error for an unusable folder contains its name and the reason of the system', async t => {
  const file = join(t.testdir({ file: '' }), 'file')
  for (const folder of [file, join(file, 'sub')]) {
    const error = await new LmdbLog({ folder })
      .start(silentLogger)
      .catch((error: Error) => error) as Error & { cause: unknown }
    t.ok(error.message.startsWith(
      `topics: option "folder" must be a folder that this process can write to, with its files, saw "${folder}" (E`
    ), error.message)
    t.match(error, { code: 'TOPICS_BAD_OPTION', cause: { code: /EEXIST|ENOTDIR/ } })
  }
})

/** Bounds the size of the files that this process may write; beyond it a write fails, as on a full disk. */
async function withBound (t: Test, bytes: number, work: () => Promise<unknown>): Promise<void> {
  const bound = (limit: number | 'unlimited') =>
    once(spawn('prlimit', ['--pid', `${process.pid}`, `--fsize=${limit}:unlimited`]), 'exit')
  const survive = (): void => {}
  // lmdb prints the error of a failed write; if stderr is a file, the bound would apply to it as well.
  const printed = t.capture(console, 'error')
  process.on('SIGXFSZ', survive)
  await bound(bytes)
  try {
    await work()
  } finally {
    await bound('unlimited')
    process.off('SIGXFSZ', survive)
    printed.restore()
  }
}

// The process was killed by SIGBUS, without a message; with a little room the log was "damaged: restore it from a
// backup".
t.test('on a full disk the start says so where files are missing, and opens those that exist', async t => {
  const [empty, used] = [await tempFolder(t), await tempFolder(t)]
  const log = await openLog(t, { folder: used })
  await log.append('a', newEvents(1))
  await log.stop()
  const full = (folder: string) =>
    ({ ...UNAVAILABLE, message: `the log is not available: the disk of ${folder} is full (EFBIG): free some space` })
  await withBound(t, 1_000, async () => {
    await t.rejects(new LmdbLog({ folder: empty }).start(silentLogger), full(empty))
    await log.start(silentLogger)
    t.equal((await readAll(log, 'a')).length, 1)
    await t.rejects(log.append('a', newEvents(5, 'x'.repeat(20_000))), {
      ...UNAVAILABLE, message: new RegExp(`; is the disk of ${used} full\\?$`)
    })
    await log.stop()
    await rm(join(used, 'topics.mdb-lock'))
    await t.rejects(log.start(silentLogger), full(used))
  })
  await log.start(silentLogger)
  t.equal((await readAll(log, 'a')).length, 1, 'nothing is lost')
  t.same((await readdir(empty)).filter(name => name.includes('mdb')), [])
})

// A folder that root had used was "in use by another process", and files that root had restored were "damaged". A lock
// file of root crashed the process (SIGSEGV), without a message.
t.test('files of another user are an error that says so', async t => {
  const folder = await tempFolder(t)
  const log = await openLog(t, { folder })
  await log.stop()
  await chmod(folder, 0o777)
  for (const name of await readdir(folder)) await chmod(join(folder, name), 0o666)
  for (const name of [/^owner\.\d+\.sock$/, /^topics\.mdb$/, /^topics\.mdb-lock$/]) {
    const file = join(folder, (await readdir(folder)).find(each => name.test(each))!)
    await chmod(file, 0)
    const isRoot = process.getuid!() === 0
    if (isRoot) process.seteuid!(65_534)
    const error = await new LmdbLog({ folder }).start(silentLogger).catch((error: unknown) => error)
    if (isRoot) process.seteuid!(0)
    t.match(error, {
      code: 'TOPICS_BAD_OPTION',
      message: `topics: option "folder" must be a folder that this process can write to, with its files, saw "${folder}" (EACCES)`
    })
    await chmod(file, 0o666)
  }
})
