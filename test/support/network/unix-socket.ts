import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'

/** Listens on a Unix socket for one test; returns its path, for `socketPath`. */
export async function listenOnSocket (t: Test, app: FastifyInstance): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'socket-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'app')
  await app.listen({ path })
  return path
}
