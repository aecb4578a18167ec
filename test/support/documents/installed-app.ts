import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'

/**
 * Starts a program in the folder of an app, without the options of the test runner; when it responds at its origin,
 * returns a function that kills it with -9.
 */
export async function startApp (
  t: Test, { folder, file, origin }: { folder: string, file: string, origin: string }
): Promise<() => Promise<void>> {
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, file], {
    cwd: folder, stdio: ['ignore', 'ignore', 'inherit']
  })
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  t.teardown(kill)
  while (!await fetch(origin).then(({ ok }) => ok, () => false)) {
    if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode}`)
  }
  return kill
}
