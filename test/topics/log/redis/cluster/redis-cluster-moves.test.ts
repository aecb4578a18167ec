import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { injectSse } from '../../../../../plugin/testing/index.ts'
import { RedisLog } from '../../../../../plugin/topics/log/redis/index.ts'
import { ORIGIN } from '../../../../../plugin/topics/ids/event-id.ts'
import { slotOf } from '../../../../../plugin/topics/log/redis/slot.ts'
import { readAll } from '../../../../support/log-contract.ts'
import { until } from '../../../../support/until.ts'
import { moveSlot, startCluster } from '../../../../support/redis/redis-cluster.ts'
import { buildTopicsApp } from '../../../../support/apps/topics-app.ts'

const TOPICS = ['a', 'b']
const END = 'end'
const MOVES = 6
/** The pause between two events of a publisher. */
const PUBLISH_MS = 5

/** Publishes events to both topics one after another, each until it is acknowledged; returns their data. */
async function publish (app: FastifyInstance, name: string, isOver: () => boolean): Promise<string[]> {
  const published: string[] = []
  while (!isOver()) {
    const data = `${name}-${published.length}`
    for (const topic of TOPICS) await publishAtLast(app, topic, data)
    published.push(data)
    await pause(PUBLISH_MS)
  }
  return published
}

/**
 * Repeated with the same key while the log is unavailable: a slot that is being moved accepts no new keys for a moment.
 */
async function publishAtLast (app: FastifyInstance, topic: string, data: string): Promise<void> {
  await until(() => app.topics.publish(
    topic,
    { data },
    { idempotencyKey: data }
  ).then(() => true, (error: { statusCode?: number }) => {
    if (error.statusCode !== 503) throw error
    return false
  }))
}

t.test('the slot of a topic moves from node to node while readers follow it and publishers append: nothing is lost, repeated or out of order', async t => {
  const servers = await startCluster(t)
  const connection = { cluster: servers.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port })) }
  const logs = [0, 1].map(() => new RedisLog({ connection, canaryMs: 500, commandTimeoutMs: 60_000 }))
  const apps = await Promise.all(logs.map(log => buildTopicsApp(t, { log })))
  for (const log of logs) await until(() => log.isHealthy)
  const streams = await Promise.all(apps.flatMap(app => TOPICS.map(topic => injectSse(app, `/events?topic=${topic}`))))
  let isOver = false
  const publishing = Promise.all(apps.map((app, at) => publish(app, `publisher${at}`, () => isOver)))
  const newest = async (): Promise<number> => (await logs[0]!.locate('a', ORIGIN)).ends.last.n
  for (let move = 0; move < MOVES; move++) {
    await moveSlot(servers, slotOf(`sse:{${TOPICS[0]}}`), move % 2)
    // Something is published between one move and the next.
    const before = await newest()
    await until(async () => await newest() > before + 10)
  }
  isOver = true
  const published = (await publishing).flat()
  for (const topic of TOPICS) await publishAtLast(apps[0]!, topic, END)
  for (const [at, topic] of TOPICS.entries()) {
    const kept = (await readAll(logs[0]!, topic)).map(({ data }) => data)
    t.same(kept.toSorted(), [...published, END].toSorted(), `topic ${topic}: each event is stored once`)
    for (const stream of [streams[at]!, streams[TOPICS.length + at]!]) {
      const events = await stream.next(kept.length + 1)
      t.same(
        events.map(({ event, data }) => event === 'message' ? data : event),
        ['stream.open', ...kept],
        `topic ${topic}: each event is received once, in order`
      )
      stream.close()
    }
  }
})
