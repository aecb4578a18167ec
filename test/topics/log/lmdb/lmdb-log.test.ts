import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import { ORIGIN } from '../../../../plugin/topics/ids/event-id.ts'
import { newEvent, testLogContract } from '../../../support/log-contract.ts'
import { silentLogger } from '../../../support/redis/redis-server.ts'

async function tempFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

t.test('the LMDB log satisfies the contract', async t => {
  testLogContract(t, async (t, retention = []) => {
    const log = new LmdbLog({ folder: await tempFolder(t), retention })
    await log.start(silentLogger)
    t.teardown(() => log.stop())
    return log
  })
})

// Regression: a search for a position parsed whole events: one request with 44 topics and `since` stopped the process
// for seconds.
t.test('a position in LMDB is found without parsing the data of events', async t => {
  const log = new LmdbLog({ folder: await tempFolder(t), durability: 'process' })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  for (let at = 0; at < 8; at++) await log.append('a', [newEvent('\u0001'.repeat(100_000))])
  const parse = t.capture(JSON, 'parse', JSON.parse)
  t.match(await log.seek('a', { withinMs: 3_600_000 }), { n: 0 })
  t.match(await log.seek('a', { last: 3 }), { n: 5 })
  t.equal((await log.locate('a', ORIGIN)).ends.count, 8)
  const characters = parse().reduce((sum, { args: [text] }) => sum + text.length, 0)
  t.ok(characters < 10_000, `${characters} characters`)
})

t.test('reads of LMDB leave time for other work', async t => {
  const log = new LmdbLog({ folder: await tempFolder(t), durability: 'process' })
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  await log.append('a', [newEvent('\u0001'.repeat(250_000))])
  let turns = 0
  const other = setInterval(() => { turns++ }, 0)
  await Promise.all(Array.from({ length: 30 }, () => log.read('a', ORIGIN, { count: 1, bytes: 1 })))
  clearInterval(other)
  t.ok(turns > 2, `${turns} turns`)
})
