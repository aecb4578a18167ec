import { fork, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import type { LoadNews, LoadOrder } from './load.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/** A server under test, in a process of its own. */
export interface Server { child: ChildProcess, port: number }
/** One measurement: what it took, and how often Redis was asked for events meanwhile. */
export interface Round { seconds: number, bytes: number, reads: number }

/** A Redis of this run alone, which keeps nothing on disk. */
export class BenchRedis {
  readonly url: string
  readonly #client: Redis
  readonly #child: ChildProcess

  private constructor (port: number) {
    this.url = `redis://127.0.0.1:${port}`
    this.#child = spawn('redis-server', ['--port', `${port}`, '--save', '', '--bind', '127.0.0.1'], { stdio: 'ignore' })
    this.#client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null })
    this.#client.on('error', () => {})
  }

  static async start (): Promise<BenchRedis> {
    const redis = new BenchRedis(await freePort())
    await redis.#client.ping()
    return redis
  }

  /** How often Redis was asked for events so far, by its own count. */
  async reads (): Promise<number> {
    const stats = await this.#client.info('commandstats')
    return [...stats.matchAll(/cmdstat_xrange:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
  }

  stop (): void {
    this.#client.disconnect()
    this.#child.kill()
  }

  static version (): string {
    return /v=(\S+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown'
  }
}

/** Starts a server of this folder; it settles when that listens. */
export async function startServer (name: string, redis: BenchRedis): Promise<Server> {
  const child = fork(new URL(`./${name}.js`, import.meta.url), { execArgv: ['--expose-gc'], env: { ...process.env, REDIS_URL: redis.url } })
  const { port } = await newsOf<ServerNews, 'listening'>(child, 'listening')
  return { child, port }
}

export function order ({ child }: Server, what: ServerOrder): void {
  child.send(what)
}

export function startLoad (what: LoadOrder): ChildProcess {
  const child = fork(new URL('./load.js', import.meta.url))
  child.send(what)
  return child
}

/** The next message of this kind; others are passed over. */
export async function newsOf<N extends ServerNews | LoadNews, K extends N['kind']> (child: ChildProcess, kind: K): Promise<Extract<N, { kind: K }>> {
  for (;;) {
    const [news] = await once(child, 'message') as [N]
    if (news.kind === kind) return news as Extract<N, { kind: K }>
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
