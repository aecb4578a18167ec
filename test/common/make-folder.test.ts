import { execFile } from 'node:child_process'
import { existsSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { makeFolder } from '../../plugin/common/make-folder.ts'
import { ROOT } from '../support/documents/markdown.ts'

t.test('missing folders above it are created with the same mode, and an existing one is kept', async t => {
  const folder = join(t.testdir(), 'a', 'b', 'c')
  for (let times = 0; times < 2; times++) makeFolder(folder)
  t.same([folder, join(folder, '..')].map(each => statSync(each).mode & 0o777), [0o700, 0o700])
})

t.test('what cannot be a folder is the error of the system', async t => {
  const root = t.testdir()
  const [file, dangling] = [join(root, 'file'), join(root, 'dangling')]
  writeFileSync(file, '')
  symlinkSync(join(root, 'nowhere'), dangling)
  for (const [path, code] of [[file, 'EEXIST'], [join(file, 'a'), 'ENOTDIR'], [dangling, 'EEXIST']] as const) {
    t.throws(() => makeFolder(path), { code })
  }
})

/** A start that does not end reacts to no other signal. */
const LIMIT = { timeout: 60_000, killSignal: 'SIGKILL' } as const
const isLinux = existsSync('/proc/self')

// Regression: the start used a whole core and never ended, and SIGTERM had no effect.
t.test('a DATA_DIR below /proc is reported', { skip: isLinux ? false : 'there is no /proc' }, async t => {
  for (const folder of ['/proc/none', '/proc/none/deeper']) {
    const env = { ...process.env, DATA_DIR: folder }
    const checked = promisify(execFile)(process.execPath, ['service/dist/cli.js', '--check'], { cwd: ROOT, env, ...LIMIT })
    await t.rejects(checked, {
      code: 1, stderr: `DATA_DIR must be a folder that this process can write to, with its files, saw "${folder}" (ENOENT)`
    })
  }
})
