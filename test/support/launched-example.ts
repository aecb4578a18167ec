import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { Command } from './commands.ts'
import { stablePort } from './ports.ts'

/** An example that starts several processes, by `npm run example NAME`, on ports from `port` on. */
export interface LaunchedExample { origin: string, port: number }

/** Settles when so many of its processes listen, and nginx; all of them are stopped with the test. */
export async function launchExample (t: Test, name: string, listening: number): Promise<LaunchedExample> {
  const port = await stablePort()
  const origin = `http://127.0.0.1:${port}`
  // Without what tap makes of every Node process it meets.
  const npm = ['-u', 'NODE_OPTIONS', 'npm', 'run', '--ignore-scripts', 'example', name]
  const command = new Command('env', npm, { PORT: `${port}`, DATA_DIR: t.testdir() })
  t.teardown(async () => {
    // Not npm, which would not pass it on: only a terminal sends Ctrl-C to all.
    process.kill(Number(/ kill (\d+)$/m.exec(command.out)?.[1]), 'SIGTERM')
    await command.ended
  })
  await command.until(({ out }) => out.split('Server listening at').length > listening)
  while (!await fetch(origin).then(({ ok }) => ok, () => false)) await pause(20)
  return { origin, port }
}
