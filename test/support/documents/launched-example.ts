import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { Command } from '../processes/commands.ts'
import { stablePort } from '../network/ports.ts'

/** An example that starts several processes, with `npm run example NAME`, on ports from `port` on. */
export interface LaunchedExample { origin: string, port: number }

/** Settles when this many of its processes and nginx are listening; all of them are stopped after the test. */
export async function launchExample (t: Test, name: string, listening: number): Promise<LaunchedExample> {
  const port = await stablePort()
  const origin = `http://127.0.0.1:${port}`
  // Without the environment that tap sets for every Node process.
  const npm = ['-u', 'NODE_OPTIONS', 'npm', 'run', '--ignore-scripts', 'example', name]
  const command = new Command('env', npm, { PORT: `${port}`, DATA_DIR: t.testdir() })
  t.teardown(async () => {
    // Not sent to npm, which would not forward it: only a terminal sends Ctrl-C to all processes.
    process.kill(Number(/ kill (\d+)$/m.exec(command.out)?.[1]), 'SIGTERM')
    await command.ended
  })
  await command.until(({ out }) => out.split('Server listening at').length > listening)
  while (!await fetch(origin).then(({ ok }) => ok, () => false)) await pause(20)
  return { origin, port }
}
