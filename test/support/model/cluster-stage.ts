import { slotOf } from '../../../plugin/topics/log/redis/slot.ts'
import type { Redis } from 'ioredis'
import { until } from '../log-contract.ts'
import { mastersOf, untilWhole } from '../redis-cluster.ts'
import type { RedisServer } from '../redis-server.ts'
import { TOPICS } from './world.ts'
import type { RedisStage } from './redis-schedule.ts'

/** Faults of a cluster: a master dies and its replica takes over; a topic's slot moves to another node while it is in use. */
export function clusterStage (servers: readonly RedisServer[]): RedisStage {
  return {
    connection: { cluster: servers.map(({ port }) => ({ host: '127.0.0.1', port })) },
    forksTold: 0,
    recover: async () => {},
    faults: ({ random }, prefix) => {
      const move = async (): Promise<void> => moveSlot(servers, slotOf(`${prefix}{${random.pick(TOPICS)}}`), random.integer(0, 1))
      return [move, move, async () => { if (random.chance(0.3)) await failOver(servers, random.integer(0, 2)) }]
    }
  }
}

/** Kills a master, waits until its replica has taken over, and brings it back as a replica. */
async function failOver (servers: readonly RedisServer[], which: number): Promise<void> {
  const master = (await mastersOf(servers))[which]!
  await master.kill()
  await until(async () => (await mastersOf(servers)).length === 3)
  await master.start()
  await untilWhole(servers)
}

/** Moves a slot with its keys from the master that has it to another one, as an operator would. */
async function moveSlot (servers: readonly RedisServer[], slot: number, which: number): Promise<void> {
  const masters = await Promise.all((await mastersOf(servers)).map(async server => ({ server, id: await server.with(client => client.cluster('MYID') as Promise<string>) })))
  const owners = await masters[0]!.server.with(client => client.cluster('SLOTS') as unknown as Promise<[number, number, [string, number, string]][]>)
  const ownerId = owners.find(([from, to]) => from <= slot && slot <= to)![2][2]
  const owner = masters.find(({ id }) => id === ownerId)!
  const target = masters.filter(({ id }) => id !== ownerId)[which]!
  await target.server.with(client => client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ownerId))
  await owner.server.with(async client => {
    await client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id)
    await moveKeys(client, slot, target.server.port)
  })
  for (const { server } of [target, owner, ...masters]) await server.with(client => client.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id))
}

async function moveKeys (client: Redis, slot: number, port: number): Promise<void> {
  for (;;) {
    const keys = await client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100) as string[]
    if (keys.length === 0) return
    await client.call('MIGRATE', '127.0.0.1', port, '', 0, 5_000, 'KEYS', ...keys)
  }
}
