import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildService, readConfig } from 'resumable-sse'
import { answerCalls } from './answers.ts'

/** The service without authentication, with the log selected by the variable `LOG`. */
const folder = await mkdtemp(join(tmpdir(), 'bench-service-'))
const { LOG, REDIS_URL, DURABILITY } = process.env
const app = await buildService(readConfig({
  LOG,
  DATA_DIR: folder,
  LOG_LEVEL: 'warn',
  ...LOG === 'redis' && { REDIS_URL },
  ...LOG === 'lmdb' && { DURABILITY }
}))
await app.listen({ host: '127.0.0.1', port: 0 })

async function stop (): Promise<void> {
  await app.close()
  await rm(folder, { recursive: true })
}

answerCalls(app.server, { stop })
