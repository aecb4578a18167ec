import { randomUUID } from 'node:crypto'
import { RedisLog } from '../../../plugin/topics/log/redis/index.ts'
import type { RedisConnection } from '../../../plugin/topics/log/redis/index.ts'
import { until } from '../until.ts'
import { silentLogger } from '../redis/redis-server.ts'
import type { RedisServer } from '../redis/redis-server.ts'
import type { TcpProxy } from '../network/tcp-proxy.ts'
import { Random } from './random.ts'
import { runSchedule } from './schedule.ts'
import type { Fault } from './schedule.ts'
import { pause, TOPICS, World } from './world.ts'

/** The environment of a schedule on Redis. */
export interface RedisStage {
  connection: RedisConnection
  /** The faults that are possible in it. */
  faults: (world: World, prefix: string) => Fault[]
  /** Number of gaps with reason `fork` reported to clients so far. */
  forksTold: number
  /** Repairs everything. */
  recover: () => Promise<void>
}

/** Longer than any answer takes on a busy machine, and shorter than a fault lasts. */
export const COMMAND_TIMEOUT_MS = 400

/** One schedule on Redis logs for two processes, with real faults; returns all violations. */
export async function runRedisSchedule (stage: RedisStage, seed: number): Promise<string[]> {
  const random = new Random(seed)
  const world = new World(random)
  const prefix = `${randomUUID()}:`
  const maxEvents = random.pick([3, 20, 1_000])
  const logs: RedisLog[] = []
  for (let count = 0; count < 2; count++) {
    const log = new RedisLog({
      connection: stage.connection,
      prefix,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      canaryMs: 100,
      retention: [{ topics: '*', maxEvents }]
    })
    await log.start(silentLogger)
    world.addInstance(log, random.pick([1, 200, 100_000]))
    logs.push(log)
  }
  const problems = await runSchedule(world, [
    ...stage.faults(world, prefix), addClient
  ], random.integer(15, 40), async () => {
    await stage.recover()
    await until(() => logs.every(log => log.isHealthy))
  })
  await world.stop()
  stage.forksTold += world.clients.reduce((sum, client) => sum + client.journal.forks, 0)
  return problems
}

const addClient: Fault = world => { if (world.clients.length < 6) world.addClient() }

/** Faults of a single server that keeps everything it has acknowledged. */
export function singleServerStage (server: RedisServer, proxy: TcpProxy): RedisStage {
  const recover = async (): Promise<void> => {
    proxy.unsilence()
    proxy.up()
    server.unpause()
    if (!server.isRunning) await server.start()
  }
  return {
    connection: proxy.url,
    forksTold: 0,
    recover,
    faults: ({ random }, prefix) => [
      () => { proxy.cut() },
      () => { proxy.down() },
      () => { proxy.silence() },
      () => { server.pause() },
      () => server.kill(),
      recover,
      recover,
      async () => { if (server.isUp) await server.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')) },
      async () => {
        if (server.isUp &&
        random.chance(0.2)) await server.with(client => client.del(`${prefix}{${random.pick(TOPICS)}}:log`))
      }
    ]
  }
}

/** About a second. */
const MAX_ROUNDS_UNTIL_SEEN = 500

/**
 * Publishes to each topic, and waits until the clients and the replica have received it. A topic of which a promoted
 * replica has nothing begins again, and none of its clients would be told of a fork.
 */
async function startTopics (world: World, master: RedisServer): Promise<void> {
  for (const client of world.clients) client.connect(world.random.pick(world.instances))
  for (const topic of TOPICS) world.begin(world.publish(topic, 1))
  await world.rest()
  await master.with(async client => {
    await client.set('replicated', '1')
    await client.wait(1, 5_000)
  })
}

/** A master and a replica that may lag behind when it is promoted: events that it lacks are lost. */
export function failoverStage (servers: [RedisServer, RedisServer], proxy: TcpProxy): RedisStage {
  let [master, replica] = servers
  const promote = async (): Promise<void> => {
    await master.kill()
    await replica.with(client => client.replicaof('NO', 'ONE'))
    proxy.lead(replica.port)
    const [oldMaster, newMaster] = [master, replica]
    await oldMaster.start()
    ;[master, replica] = [newMaster, oldMaster]
    await follow(replica, master)
  }
  return {
    connection: proxy.url,
    forksTold: 0,
    recover: async () => {
      replica.unpause()
      await follow(replica, master)
    },
    faults: ({ random }) => [
      async world => {
        // Lost after a client has received it, in which case the client must be notified, or before.
        const isSeen = random.chance(0.5)
        if (isSeen) await startTopics(world, master)
        // The replica lags behind; events published and delivered meanwhile are lost with the master.
        await replica.with(client => client.replicaof('127.0.0.1', '1'))
        for (const client of world.clients) client.connect(random.pick(world.instances))
        for (const topic of TOPICS) world.begin(world.publish(topic, random.integer(1, 3)))
        const before = world.received
        await world.rest()
        // There may be no client.
        const [wanted, rounds] = isSeen ? [before + 1, MAX_ROUNDS_UNTIL_SEEN] : [Infinity, random.integer(0, 70)]
        for (let round = 0; round < rounds && world.received < wanted; round++) await pause(round)
        await promote()
      },
      promote,
      () => { proxy.cut() }
    ]
  }
}

/** Makes one server the replica of another and waits until it is in sync. */
export async function follow (replica: RedisServer, master: RedisServer): Promise<void> {
  await replica.with(async client => {
    await client.replicaof('127.0.0.1', `${master.port}`)
    await until(async () => /master_link_status:up/.test(await client.info('replication')))
  })
}
