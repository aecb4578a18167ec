import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, linkSync, openSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server } from 'node:net'
import { join, relative } from 'node:path'
import { errors } from '../../errors.ts'

/** A claim to the folder: `owner.<number>.sock`. Only the claim with the highest number counts. */
const CLAIM = /^owner\.(\d{1,15})\.sock$/

/**
 * Ensures that only one process at a time uses a folder. The owner listens on a socket in it: unlike a file with a
 * process id, a socket left behind by a killed process can be distinguished from one in use, even across containers.
 *
 * A socket that was left behind cannot be replaced atomically: of two processes that find it, the slower one would
 * remove the socket of the faster one. So nothing is replaced. Each claim has a new name, one above the highest
 * existing number, and is created by `link`, which fails if the name is taken. A claim is valid if no higher one exists
 * afterwards. Only names below another one are ever removed, so the highest number never decreases, and a process that
 * looked too long ago either meets a name that is taken or finds a higher one.
 */
export class FolderOwner {
  readonly #folder: string
  #server: Server | undefined
  #directory: number | undefined

  constructor (folder: string) {
    this.#folder = folder
  }

  /** Rejects with `TOPICS_LOG_IN_USE` if another process, or another log in this one, owns the folder. */
  async take (): Promise<void> {
    const directory = openSync(this.#folder, 'r')
    const folder = shortPath(this.#folder, directory)
    try {
      this.#server = await claim(folder) ?? this.#refuse()
      this.#directory = directory
    } catch (error) {
      closeSync(directory)
      throw error
    }
  }

  /** The last claim remains as a socket file without a listener: the next claim continues from its number. */
  async release (): Promise<void> {
    const [server, directory] = [this.#server, this.#directory]
    this.#server = this.#directory = undefined
    if (server) await new Promise(resolve => { server.close(resolve) })
    if (directory !== undefined) closeSync(directory)
  }

  #refuse (): never {
    throw new errors.TOPICS_LOG_IN_USE(this.#folder)
  }
}

/**
 * The shortest path to a folder: the path of a socket is limited to about 100 bytes on every system, and truncated
 * beyond that without an error. On Linux an open directory has a short path.
 */
function shortPath (folder: string, directory: number): string {
  const paths = [folder, relative('', folder) || '.', `/proc/self/fd/${directory}`]
  return paths
    .filter(path => existsSync(path))
    .sort((one, other) => Buffer.byteLength(one) - Buffer.byteLength(other))[0]!
}

/** The listening server of a valid claim; undefined if another process owns the folder. */
async function claim (folder: string): Promise<Server | undefined> {
  const socket = join(folder, `owner.${randomBytes(6).toString('hex')}.new`)
  const server = createServer(connection => connection.destroy()).unref()
  try {
    server.listen(socket)
    await once(server, 'listening')
    for (;;) {
      const highest = Math.max(0, ...claimsIn(folder))
      if (await isAnswered(claimPath(folder, highest))) {
        server.close()
        return undefined
      }
      if (isClaimed(folder, socket, highest + 1)) return server
    }
  } catch (error) {
    server.close()
    throw error
  } finally {
    // The claim is a second name of the same socket.
    rmSync(socket, { force: true })
  }
}

/**
 * Creates a claim; returns false if another process has created it in the meantime, or if it is no longer the highest
 * one.
 */
function isClaimed (folder: string, socket: string, number: number): boolean {
  const path = claimPath(folder, number)
  try {
    linkSync(socket, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  }
  const claims = claimsIn(folder)
  const isHighest = claims.every(claim => claim <= number)
  const superseded = isHighest ? claims.filter(claim => claim < number) : [number]
  for (const claim of superseded) rmSync(claimPath(folder, claim), { force: true })
  return isHighest
}

const claimPath = (folder: string, number: number): string => join(folder, `owner.${number}.sock`)

const claimsIn = (folder: string): number[] =>
  readdirSync(folder).flatMap(name => Number(CLAIM.exec(name)?.[1] ?? NaN) || [])

/** What says that nobody listens; a socket that is busy is somebody's all the same. */
const NOBODY: unknown[] = ['ENOENT', 'ECONNREFUSED']

/** Rejects for a socket that this process may not access: like the files, it belongs to another user. */
async function isAnswered (path: string): Promise<boolean> {
  const socket = connect(path)
  const failure = await once(socket, 'connect').then(() => undefined, (error: NodeJS.ErrnoException) => error)
  socket.destroy()
  if (failure?.code === 'EACCES') throw failure
  return !NOBODY.includes(failure?.code)
}
