import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { realpathSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errors } from '../../errors.ts'

/** A socket's path may be so long on every system we run on. */
const MAX_SOCKET_PATH = 100

/**
 * Makes sure that one process at a time uses a folder. The owner listens on a socket in it: unlike a file with a process
 * id, a socket that a killed process left behind is told from one that is in use, in containers too.
 */
export class FolderOwner {
  readonly #folder: string
  #server: Server | undefined

  constructor (folder: string) {
    this.#folder = folder
  }

  /** Rejects with `TOPICS_LOG_IN_USE` when another process, or another log of this one, has the folder. */
  async take (): Promise<void> {
    const path = socketPath(this.#folder)
    if (await isAnswered(path)) throw new errors.TOPICS_LOG_IN_USE(this.#folder)
    rmSync(path, { force: true })
    const server = createServer(socket => socket.destroy()).unref()
    server.listen(path)
    await once(server, 'listening')
    this.#server = server
  }

  async release (): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server) await new Promise(resolve => { server.close(resolve) })
  }
}

function socketPath (folder: string): string {
  const real = realpathSync(folder)
  const inFolder = join(real, 'owner.sock')
  if (inFolder.length <= MAX_SOCKET_PATH) return inFolder
  return join(tmpdir(), `topics-${createHash('sha256').update(real).digest('hex').slice(0, 32)}.sock`)
}

/** What says that nobody listens; a socket that is busy or not ours to ask is somebody's all the same. */
const NOBODY: unknown[] = ['ENOENT', 'ECONNREFUSED']

async function isAnswered (path: string): Promise<boolean> {
  const socket = connect(path)
  const failure = await once(socket, 'connect').then(() => undefined, (error: NodeJS.ErrnoException) => error.code)
  socket.destroy()
  return !NOBODY.includes(failure)
}
