import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import { testLogContract } from '../../../support/log-contract.ts'
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
