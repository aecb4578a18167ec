import type { Test } from 'tap'
import { deferred } from '../../../plugin/common/deferred.ts'
import { Command } from '../processes/commands.ts'
import { stablePort } from '../network/ports.ts'

/** A service as users run it: the built command in a separate process, which can be killed and restarted. */
export class ServiceProcess {
  readonly port: number
  readonly #env: Record<string, string>
  #command: Command | undefined
  #up = deferred<void>()

  private constructor (port: number, env: Record<string, string>) {
    this.port = port
    this.#env = env
  }

  /** Starts it on a fixed port, with its own files unless `env` selects another log; stopped after the test. */
  static async start (t: Test, env: Record<string, string> = {}): Promise<ServiceProcess> {
    const port = await stablePort()
    const service = new ServiceProcess(port, { PORT: `${port}`, ...env, DATA_DIR: env.DATA_DIR ?? t.testdir() })
    t.teardown(() => service.stop())
    await service.start()
    return service
  }

  get origin (): string { return `http://127.0.0.1:${this.port}` }

  /** The current process, or the last one. */
  get command (): Command {
    if (!this.#command) throw new Error('the service was never started')
    return this.#command
  }

  /** Settles when it listens. */
  async start (): Promise<void> {
    // Without the environment that tap sets for every Node process: a start takes a third of the time.
    this.#command = new Command('env', ['-u', 'NODE_OPTIONS', process.execPath, 'service/dist/cli.js'], this.#env)
    await this.#command.until(({ err }) => err.includes('Publish:'))
    this.#up.settle()
  }

  /** Kills it with -9; settles when it has exited. */
  async kill (): Promise<void> {
    this.#up = deferred()
    this.command.kill('SIGKILL')
    await this.command.ended
  }

  /** Settles immediately, or while the process is down when it listens again. */
  get up (): Promise<void> { return this.#up.promise }

  /** Stops it as an operator does. */
  async stop (): Promise<void> {
    this.command.kill('SIGTERM')
    await this.command.ended
  }
}
