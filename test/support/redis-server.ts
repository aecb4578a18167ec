import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { stablePort } from './ports.ts'

export interface RedisServerOptions {
  port?: number
  /** Lines of its configuration, as arguments: `['--appendonly', 'yes']`. */
  args?: string[]
  /** What stands before all other arguments: a configuration file. */
  first?: string[]
  /** The program. Default: that of the environment's REDIS_SERVER, so that every test can be run on another server, or redis-server. */
  command?: string
}

/** A real redis-server of the test's own, in a folder of its own; it goes with the test. */
export class RedisServer {
  readonly port: number
  readonly folder: string
  readonly #command: string
  readonly #args: string[]
  readonly #first: string[]
  #process: ChildProcess | undefined
  #isPaused = false

  private constructor (port: number, folder: string, { args = [], first = [], command = process.env.REDIS_SERVER || 'redis-server' }: RedisServerOptions) {
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

  /** Starts it, again after a kill, with more arguments where given; settles when it answers, rejects when it ends before. */
  async start (more: readonly string[] = []): Promise<void> {
    const child = spawn(this.#command, [...this.#first, '--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.folder, ...(this.#first.length > 0 ? [] : ['--save', '']), ...this.#args, ...more], { stdio: 'ignore' })
    this.#process = child
    const ended = new Promise<never>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', code => { reject(new Error(`${this.#command} on port ${this.port} ended before it answered, with code ${code}`)) })
    })
    await this.with(async client => { await Promise.race([client.ping(), ended]) })
  }

  /** kill -9; settles when it is gone. */
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

  /** True when it runs and is not paused. */
  get isUp (): boolean { return this.isRunning && !this.#isPaused }

  pause (): void {
    this.#process?.kill('SIGSTOP')
    this.#isPaused = this.isRunning
  }

  unpause (): void {
    this.#process?.kill('SIGCONT')
    this.#isPaused = false
  }

  /** Runs commands on a connection of their own, waiting for the server to be there. */
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
