import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../until.ts'
import { follow } from '../model/redis-schedule.ts'
import { stablePort } from '../network/ports.ts'
import { RedisServer } from './redis-server.ts'

export const MASTER_NAME = 'main'
const QUORUM = 2

/** Long enough that no pause of a busy machine is mistaken for a dead master. */
const CALM_MS = 30_000

/** A master, a replica and three Sentinels that monitor them; real processes. */
export class SentinelGroup {
  readonly servers: readonly [RedisServer, RedisServer]
  readonly sentinels: readonly { host: string, port: number }[]

  private constructor (
    servers: readonly [RedisServer, RedisServer],
    sentinels: readonly { host: string, port: number }[]
  ) {
    this.servers = servers
    this.sentinels = sentinels
  }

  /** A master that does not answer for `downAfterMs` is considered dead: use a short time if the test kills it. */
  static async start (t: Test, { downAfterMs = CALM_MS } = {}): Promise<SentinelGroup> {
    const args = ['--repl-diskless-sync-delay', '0', '--repl-timeout', '2']
    const servers = [await RedisServer.start(t, { args }), await RedisServer.start(t, { args })] as const
    await follow(servers[1], servers[0])
    const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(t, servers[0].port, downAfterMs)))
    const group = new SentinelGroup(servers, sentinels)
    await until(() => group.#ask(async client => (await client.call(
      'SENTINEL',
      'SENTINELS',
      MASTER_NAME
    ) as unknown[]).length === 2 &&
      (await client.call('SENTINEL', 'REPLICAS', MASTER_NAME) as unknown[]).length === 1))
    return group
  }

  /** The server that the Sentinels consider to be the master. */
  async master (): Promise<RedisServer> {
    const port = await this.#ask(
      async client => Number((await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER_NAME) as string[])[1])
    )
    return this.servers.find(server => server.port === port)!
  }

  /**
   * Kills the master, waits until the Sentinels have promoted the other server, and restarts the old one as its
   * replica.
   */
  async failOver (): Promise<void> {
    const old = await this.master()
    await old.kill()
    await until(async () => await this.master() !== old)
    // A replica from the very start. If it became one later, it could have been promoted meanwhile on a slow machine:
    // then two histories would have continued in parallel, and the one that clients had been told was over would have
    // come back.
    await old.start(['--replicaof', '127.0.0.1', `${(await this.master()).port}`])
    await old.with(
      client => until(async () => /role:master|master_link_status:up/.test(await client.info('replication')))
    )
  }

  async #ask<T> (question: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(this.sentinels[0]!.port, '127.0.0.1', { maxRetriesPerRequest: null })
    client.on('error', () => {})
    try {
      return await question(client)
    } finally {
      client.disconnect()
    }
  }
}

async function startSentinel (
  t: Test,
  masterPort: number,
  downAfterMs: number
): Promise<{ host: string, port: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'sentinel-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'sentinel.conf')
  await writeFile(file, [
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${masterPort} ${QUORUM}`,
    `sentinel down-after-milliseconds ${MASTER_NAME} ${downAfterMs}`,
    `sentinel failover-timeout ${MASTER_NAME} 2000`,
    ''
  ].join('\n'))
  const port = await stablePort()
  await RedisServer.start(t, { port, first: [file], args: ['--sentinel'] })
  return { host: '127.0.0.1', port }
}
