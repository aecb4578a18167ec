import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'

/** A separate Redis for this run, which stores nothing on disk. */
export class BenchRedis {
  readonly port: number
  readonly #client: Redis
  readonly #child: ChildProcess

  private constructor (port: number) {
    this.port = port
    this.#child = spawn('redis-server', ['--port', `${port}`, '--save', '', '--bind', '127.0.0.1'], { stdio: 'ignore' })
    this.#client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null })
    this.#client.on('error', () => {})
  }

  static async start (): Promise<BenchRedis> {
    const redis = new BenchRedis(await freePort())
    await redis.#client.ping()
    return redis
  }

  get url (): string { return `redis://127.0.0.1:${this.port}` }

  get pid (): number { return this.#child.pid! }

  async flush (): Promise<void> {
    await this.#client.flushall()
  }

  async stop (): Promise<void> {
    this.#client.disconnect()
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}

/** The version of the installed server. */
export function redisVersion (): string {
  return /v=(\S+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown'
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
