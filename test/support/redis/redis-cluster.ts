import { spawnSync } from 'node:child_process'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../until.ts'
import { RedisServer } from './redis-server.ts'

/** Long enough that no pause of a busy machine is mistaken for a dead node, which would make a replica take over. */
const CALM_MS = 30_000

/**
 * A real cluster: three masters, each with a replica that is in sync. A node that does not answer for `nodeTimeoutMs`
 * is considered dead: use a short time if the test kills nodes.
 */
export async function startCluster (t: Test, { nodeTimeoutMs = CALM_MS } = {}): Promise<RedisServer[]> {
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    `${nodeTimeoutMs}`,
    '--cluster-replica-validity-factor',
    '0',
    '--repl-diskless-sync-delay',
    '0',
    '--appendonly',
    'no'
  ]
  const servers: RedisServer[] = []
  for (let count = 0; count < 6; count++) {
    servers.push(await RedisServer.start(t, { args: [...args, '--cluster-config-file', 'nodes.conf'] }))
  }
  const nodes = servers.map(server => `127.0.0.1:${server.port}`)
  const { status, stdout, stderr } = spawnSync('redis-cli', [
    '--cluster', 'create', ...nodes, '--cluster-replicas', '1', '--cluster-yes'
  ], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the cluster was not made: ${stdout}${stderr}`)
  await untilWhole(servers)
  return servers
}

/** Settles when every node has joined and every replica is in sync; a replica that never was could not take over. */
export async function untilWhole (servers: readonly RedisServer[]): Promise<void> {
  await until(async () => {
    const nodes = await Promise.all(servers.map(server => server.with(async client => ({
      cluster: await client.cluster('INFO') as string, replication: await client.info('replication')
    }))))
    return nodes.every(({ cluster }) => /cluster_state:ok/.test(cluster)) &&
      nodes.filter(
        ({ replication }) => /role:master[^]*connected_slaves:1[^]*state=online/.test(replication)
      ).length === nodes.length / 2 &&
      nodes.filter(
        ({ replication }) => /role:slave[^]*master_link_status:up/.test(replication)
      ).length === nodes.length / 2
  })
}

/** The servers that are currently masters, by the port they listen on. */
export async function mastersOf (servers: readonly RedisServer[]): Promise<RedisServer[]> {
  const masters: RedisServer[] = []
  for (const server of servers) {
    if (server.isUp && await server.with(async client => /role:master/.test(await client.info('replication')))) {
      masters.push(server)
    }
  }
  return masters
}

/** Moves a slot with its keys from its master to another one, the first or second (0 or 1), as an operator would. */
export async function moveSlot (servers: readonly RedisServer[], slot: number, which: number): Promise<void> {
  const masters = await Promise.all((await mastersOf(servers)).map(async server => ({
    server, id: await server.with(client => client.cluster('MYID') as Promise<string>)
  })))
  const owners = await masters[0]!.server.with(
    client => client.cluster('SLOTS') as unknown as Promise<[number, number, [string, number, string]][]>
  )
  const ownerId = owners.find(([from, to]) => from <= slot && slot <= to)![2][2]
  const owner = masters.find(({ id }) => id === ownerId)!
  const target = masters.filter(({ id }) => id !== ownerId)[which]!
  await target.server.with(client => client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ownerId))
  await owner.server.with(async client => {
    await client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id)
    await moveKeys(client, slot, target.server.port)
  })
  for (const { server } of [target, owner, ...masters]) {
    await server.with(client => client.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id))
  }
}

async function moveKeys (client: Redis, slot: number, port: number): Promise<void> {
  for (;;) {
    const keys = await client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100) as string[]
    if (keys.length === 0) return
    await client.call('MIGRATE', '127.0.0.1', port, '', 0, 5_000, 'KEYS', ...keys)
  }
}
