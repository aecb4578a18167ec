import type { Test } from 'tap'
import { Command } from '../processes/commands.ts'
import { stablePort } from '../network/ports.ts'

/**
 * An example as its reader runs it, with `npm run example NAME` (without building first), on a fixed port and in a
 * separate folder. It can be killed and restarted.
 */
export class Example {
  readonly port: number
  readonly #name: string
  readonly #env: Record<string, string>
  #command: Command | undefined

  private constructor (name: string, port: number, env: Record<string, string>) {
    this.port = port
    this.#name = name
    this.#env = env
  }

  /** Starts it; stopped after the test. */
  static async start (t: Test, name: string, env: Record<string, string> = {}): Promise<Example> {
    const port = await stablePort()
    const example = new Example(name, port, { PORT: `${port}`, DATA_DIR: t.testdir(), ...env })
    t.teardown(() => example.kill())
    await example.start()
    return example
  }

  get origin (): string { return `http://127.0.0.1:${this.port}` }

  /** Settles when it listens. */
  async start (): Promise<void> {
    // Without the environment that tap sets for every Node process.
    const npm = ['-u', 'NODE_OPTIONS', 'npm', 'run', '--ignore-scripts', 'example', this.#name]
    this.#command = new Command('env', npm, this.#env)
    await this.#command.until(({ out }) => pidIn(out, this.port) !== undefined)
  }

  /** Its log since the latest start. */
  get out (): string { return this.#command!.out }

  /** Kills the server with -9; settles when the server and npm have exited. */
  async kill (): Promise<void> {
    const pid = pidIn(this.out, this.port)
    try {
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
    await this.#command!.ended
  }
}

/** The process that listens on a port, according to its log. */
function pidIn (log: string, port: number): number | undefined {
  const [, pid] = new RegExp(`"pid":(\\d+).*"msg":"Server listening at http://\\S+:${port}"`).exec(log) ?? []
  return pid === undefined ? undefined : Number(pid)
}
