import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import { newEvents, readAll } from '../../../support/log-contract.ts'
import { silentLogger } from '../../../support/redis/redis-server.ts'

// Files of another format are rejected at the start, and stay as they are.

async function tempFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Appends an event; returns the data of all events. */
async function useLog (folder: string): Promise<string[]> {
  const log = new LmdbLog({ folder })
  await log.start(silentLogger)
  try {
    await log.append('a', newEvents(1))
    return (await readAll(log, 'a')).map(({ data }) => data)
  } finally {
    await log.stop()
  }
}

/** Sets or removes the number of the format. */
async function setFormat (folder: string, format: number | undefined): Promise<void> {
  const root = open({ path: join(folder, 'topics.mdb'), noSubdir: true, maxDbs: 4 })
  const formats = root.openDB({ name: 'format', encoding: 'json' })
  await (format === undefined ? formats.remove('number') : formats.put('number', format))
  await root.close()
}

// Regression: the service reported itself ready, and answered every call with an unexplained 503.
t.test('files of another format are rejected at the start, and can be opened by their version afterwards', async t => {
  const folder = await tempFolder(t)
  const before = await useLog(folder)
  for (const [format, seen] of [[undefined, 'no format number'], [2, 'format 2'], [0, 'format 0']] as const) {
    await setFormat(folder, format)
    await t.rejects(useLog(folder), {
      code: 'TOPICS_LOG_FORMAT',
      statusCode: 500,
      message: `the log in ${folder} has ${seen}, and this version reads format 1: ` +
        'start the version that wrote it, or start with an empty folder'
    })
  }
  await setFormat(folder, 1)
  t.same((await useLog(folder)).slice(0, 1), before, 'the rejected starts have changed nothing')
})

t.test('a file without topics gets the current format', async t => {
  const folder = await tempFolder(t)
  const log = new LmdbLog({ folder })
  await log.start(silentLogger)
  await log.stop()
  await setFormat(folder, undefined)
  t.equal((await useLog(folder)).length, 1)
  t.equal((await useLog(folder)).length, 2)
})
