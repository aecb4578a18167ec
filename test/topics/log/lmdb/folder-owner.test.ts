import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { FolderOwner } from '../../../../plugin/topics/log/lmdb/folder-owner.ts'
import type { OwnerOrder } from '../../../support/lmdb/folder-owner-program.ts'

const PROGRAM = fileURLToPath(new URL('../../../support/lmdb/folder-owner-program.ts', import.meta.url))
const IN_USE = 'TOPICS_LOG_IN_USE'
const LEAD_MS = 30

/** Processes that take a folder at the same time; they end with the test. */
class Rivals {
  readonly #t: Test
  readonly #env: (at: number) => Record<string, string>
  #processes: ChildProcess[] = []

  constructor (t: Test, env: (at: number) => Record<string, string> = () => ({})) {
    this.#t = t
    this.#env = env
  }

  /** The result of each process, in order. */
  async race (folder: string, count: number): Promise<string[]> {
    for (let at = this.#processes.length; at < count; at++) this.#processes.push(this.#fork(at))
    const atMs = Date.now() + LEAD_MS
    return Promise.all(this.#processes.map(child => tell(child, { folder, atMs })))
  }

  async release (at: number): Promise<void> {
    await tell(this.#processes[at]!, 'release')
  }

  async kill (at: number): Promise<void> {
    const [child] = this.#processes.splice(at, 1)
    const gone = once(child!, 'exit')
    child!.kill('SIGKILL')
    await gone
  }

  #fork (at: number): ChildProcess {
    const child = fork(PROGRAM, { env: { ...process.env, ...this.#env(at) }, silent: true })
    this.#t.teardown(async () => {
      if (!child.connected) return
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    })
    return child
  }
}

async function tell (child: ChildProcess, order: OwnerOrder): Promise<string> {
  const heard = once(child, 'message')
  child.send(order)
  return (await heard)[0] as string
}

/** Exactly one process is the owner, and all others got the reason why they are not. */
function ownerIn (t: Test, said: readonly string[], message: string): number {
  t.same([...said].sort(), [...Array.from({ length: said.length - 1 }, () => IN_USE), 'owner'], message)
  return said.indexOf('owner')
}

// Regression: the order was connect, remove, listen: in 1 of 12 rounds two processes both had the folder, in 7 of 12
// the other one failed with EADDRINUSE.
t.test('of processes that start at the same time exactly one gets the folder, after a stop and after kill -9', async t => {
  const folder = t.testdir()
  const rivals = new Rivals(t)
  for (let round = 0; round < 60; round++) {
    const winner = ownerIn(t, await rivals.race(folder, 4), `round ${round}`)
    if (round % 5 === 4) await rivals.kill(winner)
    else await rivals.release(winner)
  }
  t.ok(readdirSync(folder).length <= 6, 'files left behind by killed processes do not accumulate')
})

// Regression: the length was counted in characters, but the path of a socket is truncated at about 100 bytes, which
// made a second start possible.
t.test('the path of the folder may contain any characters, and have any length that the system allows', async t => {
  const root = t.testdir()
  const names = [
    'ö'.repeat(60),
    '購読'.repeat(20),
    'a folder '.repeat(20).trim(),
    join(...Array.from({ length: 12 }, () => 'deep'.repeat(20))),
    '🚀'.repeat(30),
    "it's \"quoted\" $HOME %41 #1"
  ]
  for (const name of names) {
    const folder = join(root, name)
    mkdirSync(folder, { recursive: true })
    for (let start = 0; start < 3; start++) {
      const [owner, other] = [new FolderOwner(folder), new FolderOwner(folder)]
      await owner.take()
      await t.rejects(other.take(), { code: IN_USE }, name)
      await owner.release()
    }
    t.same(readdirSync(folder).filter(file => file.startsWith('owner')), [
      'owner.3.sock'
    ], 'the lock is in the folder itself')
  }
})

// Regression: for a long path the socket was in the folder for temporary files, and PrivateTmp=yes of the unit gives
// each process its own.
t.test('processes with different temporary folders still exclude each other', async t => {
  const root = t.testdir({ tmp0: {}, tmp1: {}, tmp2: {} })
  const folder = join(root, 'x'.repeat(120))
  mkdirSync(folder)
  const rivals = new Rivals(t, at => ({ TMPDIR: join(root, `tmp${at % 3}`) }))
  for (let round = 0; round < 5; round++) {
    await rivals.release(ownerIn(t, await rivals.race(folder, 3), `round ${round}`))
  }
  t.same([0, 1, 2].flatMap(at => readdirSync(join(root, `tmp${at}`))), [])
})

t.test('two owners in one process, through a symbolic link and a relative path, exclude each other as well', async t => {
  const root = t.testdir({ real: {}, link: t.fixture('symlink', 'real') })
  const owner = new FolderOwner(join(root, 'real'))
  await owner.take()
  await t.rejects(new FolderOwner(join(root, 'link')).take(), { code: IN_USE })
  const cwd = process.cwd()
  process.chdir(join(root, 'real'))
  t.teardown(() => process.chdir(cwd))
  await t.rejects(new FolderOwner('.').take(), { code: IN_USE })
  await owner.release()
  await owner.release()
  const next = new FolderOwner('.')
  await next.take()
  await next.release()
})

t.test('a missing or read-only folder is an error of the system', async t => {
  await t.rejects(new FolderOwner(join(t.testdir(), 'none')).take(), { code: 'ENOENT' })
  await t.rejects(new FolderOwner('/proc').take(), { message: /listen/ })
})
