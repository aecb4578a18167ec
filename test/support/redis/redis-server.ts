import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { stablePort } from '../network/ports.ts'

export interface RedisServerOptions {
  port?: number
  /** Lines of its configuration, as arguments: `['--appendonly', 'yes']`. */
  args?: string[]
  /** Arguments before all others: a configuration file. */
  first?: string[]
  /**
   * The program. Default: REDIS_SERVER in the environment, so that every test can be run on another server, or
   * redis-server.
   */
  command?: string
}

/** A real redis-server for one test, in a new folder; stopped after the test. */
export class RedisServer {
  readonly port: number
  readonly folder: string
  readonly #command: string
  readonly #args: string[]
  readonly #first: string[]
  #process: ChildProcess | undefined
  #isPaused = false

  private constructor (
    port: number,
    folder: string,
    { args = [], first = [], command = process.env.REDIS_SERVER || 'redis-server' }: RedisServerOptions
  ) {
    this.port = port
    this.folder = folder
    this.#args = args
    this.#first = first
    this.#command = command
  }

  static async start (t: Test, options: RedisServerOptions = {}): Promise<RedisServer> {
    const folder = await mkdtemp(join(tmpdir(), 'redis-'))
    const server = new RedisServer(options.port ?? await stablePort(), folder, options)
    t.teardown(async () => {
      await server.kill()
      await rm(folder, { recursive: true, force: true })
    })
    await server.start()
    return server
  }

  get url (): string { return `redis://127.0.0.1:${this.port}` }

  /**
   * Starts it (again, after a kill), with additional arguments if given; settles when it answers, rejects if it exits
   * before.
   */
  async start (more: readonly string[] = []): Promise<void> {
    const child = spawn(this.#command, [
      ...this.#first,
      '--port',
      `${this.port}`,
      '--bind',
      '127.0.0.1',
      '--dir',
      this.folder,
      ...(this.#first.length > 0 ? [] : ['--save', '']),
      ...this.#args,
      ...more
    ], { stdio: 'ignore' })
    this.#process = child
    const ended = new Promise<never>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', code => {
        reject(new Error(`${this.#command} on port ${this.port} ended before it answered, with code ${code}`))
      })
    })
    await this.with(async client => { await Promise.race([client.ping(), ended]) })
  }

  /** Kills it with -9; settles when it has exited. */
  async kill (): Promise<void> {
    const child = this.#process
    this.#process = undefined
    this.#isPaused = false
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill('SIGKILL')
    await gone
  }

  get isRunning (): boolean { return this.#process !== undefined }

  /** True if it runs and is not paused. */
  get isUp (): boolean { return this.isRunning && !this.#isPaused }

  pause (): void {
    this.#process?.kill('SIGSTOP')
    this.#isPaused = this.isRunning
  }

  unpause (): void {
    this.#process?.kill('SIGCONT')
    this.#isPaused = false
  }

  /** Runs commands on a separate connection, waiting for the server to be available. */
  async with<T> (use: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(this.port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null })
    client.on('error', () => {})
    try {
      return await use(client)
    } finally {
      client.disconnect()
    }
  }
}

export const silentLogger = { info () {}, warn () {}, error () {} }
