import { spawnSync } from 'node:child_process'
import type { Test } from 'tap'
import { until } from './log-contract.ts'
import { RedisServer } from './redis-server.ts'

/** A real cluster: three masters, each with a replica. */
export async function startCluster (t: Test): Promise<RedisServer[]> {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1500', '--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0', '--appendonly', 'no']
  const servers: RedisServer[] = []
  for (let count = 0; count < 6; count++) servers.push(await RedisServer.start(t, { args: [...args, '--cluster-config-file', 'nodes.conf'] }))
  const nodes = servers.map(server => `127.0.0.1:${server.port}`)
  const { status, stdout, stderr } = spawnSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-replicas', '1', '--cluster-yes'], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the cluster was not made: ${stdout}${stderr}`)
  for (const server of servers) await server.with(client => until(async () => /cluster_state:ok/.test(await client.cluster('INFO') as string)))
  return servers
}

/** The servers that are masters now, by the port they listen on. */
export async function mastersOf (servers: readonly RedisServer[]): Promise<RedisServer[]> {
  const masters: RedisServer[] = []
  for (const server of servers) {
    if (server.isUp && await server.with(async client => /role:master/.test(await client.info('replication')))) masters.push(server)
  }
  return masters
}
