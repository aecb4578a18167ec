import t from 'tap'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { Hub } from '../../plugin/topics/feed/hub.ts'
import { createSubscription } from '../../plugin/topics/subscription/subscription.ts'
import { formatEventId } from '../../plugin/topics/ids/event-id.ts'
import { newEvents } from '../support/log-contract.ts'
import { until } from '../support/until.ts'
import { Connection } from '../support/model/connection.ts'
import { RedisServer, silentLogger } from '../support/redis/redis-server.ts'

const CLIENTS = 5_000
const MISSED = 100

/** Number of commands about events that Redis received, by its own count. */
async function reads (server: RedisServer): Promise<number> {
  const stats = await server.with(client => client.info('commandstats'))
  return [...stats.matchAll(/cmdstat_(?:evalsha|eval|xrange):calls=(\d+)/g)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0
  )
}

t.test('a storm of reconnects at the same cursor causes a handful of reads, and every client receives everything', async t => {
  const server = await RedisServer.start(t)
  const log = new RedisLog({ connection: server.url, commandTimeoutMs: 60_000 })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  const { ids } = await log.append('a', newEvents(MISSED + 1))
  const hub = new Hub(log, { maxTailBytes: 1_000, onTrouble: (topic, error) => t.fail(`${topic}: ${String(error)}`) })

  const before = await reads(server)
  const received = new Array<number>(CLIENTS).fill(0)
  const connections = received.map((_, at) => new Connection(createSubscription({
    hub, topics: ['a'], options: {}
  }), formatEventId(ids[0]!), ({ event }) => {
    if (event === undefined) received[at]!++
  }))
  await until(() => received.every(count => count >= MISSED))
  t.ok(received.every(count => count === MISSED), 'every event, and none repeated')
  const made = await reads(server) - before
  t.comment(`${made} reads for ${CLIENTS} clients`)
  // Answers are cached for a moment: on a slow machine they are requested again, but never by each client.
  t.ok(made <= CLIENTS / 10, `${made} reads`)
  await log.append('a', newEvents(1))
  await until(() => received.every(count => count > MISSED))
  t.ok(received.every(count => count === MISSED + 1), 'and then they are all live')
  for (const connection of connections) connection.cut()
})
