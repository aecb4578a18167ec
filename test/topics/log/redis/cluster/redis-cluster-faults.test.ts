import t from 'tap'
import { RedisLog } from '../../../../../plugin/topics/log/redis/index.ts'
import { newEvent, readAll } from '../../../../support/log-contract.ts'
import { until } from '../../../../support/until.ts'
import { mastersOf, startCluster } from '../../../../support/redis/redis-cluster.ts'
import { silentLogger } from '../../../../support/redis/redis-server.ts'

// The titles start like the rows of docs/faults.md.

/** Twelve topics are spread over all three masters. */
const TOPICS = Array.from({ length: 12 }, (_, at) => `topic${at}`)
/** The pause of a publisher between two events; without one, memory would fill up while nothing is answered. */
const PUBLISH_MS = 20

interface Failure { data: string, mayBeDone: boolean, message: string }

/** Publishes events one after another without waiting for the answers, and records each answer. */
class Publisher {
  readonly acknowledged: string[] = []
  readonly failures: Failure[] = []
  readonly #appends: Promise<void>[] = []
  readonly #timer: NodeJS.Timeout

  constructor (log: RedisLog, topic: string) {
    this.#timer = setInterval(() => {
      this.#appends.push(this.#append(log, topic, `${this.#appends.length}`))
    }, PUBLISH_MS)
  }

  async #append (log: RedisLog, topic: string, data: string): Promise<void> {
    try {
      await log.append(topic, [newEvent(data)])
      this.acknowledged.push(data)
    } catch (error) {
      const { mayBeDone = false, message } = error as Error & { mayBeDone?: boolean }
      this.failures.push({ data, mayBeDone, message })
    }
  }

  /** Settles when every event has its answer. */
  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#appends)
  }
}

// Regression: ioredis sent the commands of a closed connection again: the server already had them, and when it
// continued it appended each event twice, even if the publisher had received an error.
t.test('Cluster paused until its connections are replaced: no event is in its topic twice', async t => {
  const servers = await startCluster(t)
  const log = new RedisLog({
    connection: { cluster: servers.map(({ port }) => ({ host: '127.0.0.1', port })) },
    canaryMs: 200,
    commandTimeoutMs: 6_000
  })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  await until(() => log.isHealthy)
  const publishers = new Map(TOPICS.map(topic => [topic, new Publisher(log, topic)]))
  const all = [...publishers.values()]
  t.teardown(() => Promise.all(all.map(publisher => publisher.stop())))
  await until(() => all.every(({ acknowledged }) => acknowledged.length > 10))
  const masters = await mastersOf(servers)
  for (const server of masters) server.pause()
  await until(() => all.every(({ failures }) => failures.some(({ mayBeDone }) => mayBeDone)))
  await until(() => all.some(({ failures }) => failures.some(
    ({ message }) => /connection to Redis .* was lost.*may have been executed/.test(message)
  )))
  const before = all.map(({ acknowledged }) => acknowledged.length)
  for (const server of masters) server.unpause()
  await until(() => all.every(({ acknowledged }, at) => acknowledged.length > before[at]! + 10))
  await Promise.all(all.map(publisher => publisher.stop()))
  for (const [topic, { acknowledged, failures }] of publishers) {
    const kept = (await readAll(log, topic)).map(({ data }) => data)
    t.equal(kept.length, new Set(kept).size, `${topic}: no event is stored twice`)
    t.same(acknowledged.filter(data => !kept.includes(data)), [], `${topic}: acknowledged events are stored`)
    const refused = failures.filter(({ mayBeDone }) => !mayBeDone)
    t.same(refused.filter(({ data }) => kept.includes(data)), [], `${topic}: rejected events are not stored`)
  }
})

// Regression: "Too many Cluster redirections. Last error: ..." was the whole message.
t.test('Node of a cluster killed: a publish to its topics was never sent, and its error says so', async t => {
  const servers = await startCluster(t)
  const log = new RedisLog({ connection: { cluster: servers.map(({ port }) => ({ host: '127.0.0.1', port })) } })
  t.teardown(() => log.stop())
  await log.start(silentLogger)
  for (const topic of TOPICS) await log.append(topic, [newEvent('before')])
  const [master] = await mastersOf(servers)
  await master!.kill()
  const outcomes = await Promise.allSettled(TOPICS.map(topic => log.append(topic, [newEvent('after')])))
  const failed = outcomes.flatMap(outcome => outcome.status === 'rejected' ? [outcome.reason as Error] : [])
  t.ok(failed.length > 0 && failed.length < TOPICS.length, 'topics of other nodes are not affected')
  for (const error of failed) {
    t.match(error, { code: 'TOPICS_LOG_UNAVAILABLE', mayBeDone: false, message: /there is no connection to Redis/ })
  }
})
