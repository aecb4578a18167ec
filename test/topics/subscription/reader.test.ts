import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../../plugin/testing/index.ts'
import { errors } from '../../../plugin/topics/errors.ts'
import { Hub } from '../../../plugin/topics/feed/hub.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import type {
  Appended,
  AppendOptions,
  LeaseReply,
  LeaseRequest,
  LogLogger,
  LogEntry,
  Location,
  NewEvent,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from '../../../plugin/topics/index.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import { listen } from '../../support/apps/app.ts'
import { newEvents } from '../../support/log-contract.ts'
import { until } from '../../support/until.ts'
import { dataOf, gapIn } from '../../support/redis/redis-app.ts'
import { buildTopicsApp, publish } from '../../support/apps/topics-app.ts'

/** A log that can fall silent, be unavailable, and lose everything at a moment chosen by the test. */
class PoorLog implements TopicLog {
  isMute = false
  /** The calls that currently fail. */
  readonly away = new Set<'read' | 'locate'>()
  /** Called with each result of locate before it is returned. */
  onLocated: (id: EventId) => void = () => {}
  #log = new MemoryLog()
  readonly #listeners = new Map<string, TopicListener>()

  async start (_logger: LogLogger): Promise<void> {}
  async stop (): Promise<void> {}

  /** Does what FLUSHALL does. */
  lose (): void {
    this.#log = new MemoryLog()
    for (const [topic, listener] of this.#listeners) void this.#log.follow(topic, listener)
  }

  append (topic: string, events: readonly NewEvent[], options?: AppendOptions): Promise<Appended> {
    return this.#log.append(topic, events, options)
  }

  close (topic: string): Promise<void> { return this.#log.close(topic) }
  lease (topic: string, request: LeaseRequest): Promise<LeaseReply> { return this.#log.lease(topic, request) }
  delete (...args: Parameters<TopicLog['delete']>): Promise<boolean> { return this.#log.delete(...args) }
  unfollow (topic: string, listener: TopicListener): Promise<void> { return this.#log.unfollow(topic, listener) }
  seek (topic: string, start: SeekStart): Promise<EventId> { return this.#log.seek(topic, start) }

  async read (topic: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    if (this.away.has('read')) throw new errors.TOPICS_LOG_UNAVAILABLE('away')
    return this.#log.read(topic, after, limit)
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    if (this.away.has('locate')) throw new errors.TOPICS_LOG_UNAVAILABLE('away')
    const location = await this.#log.locate(topic, id)
    this.onLocated(id)
    return location
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    const heard: TopicListener = {
      onEntries: entries => { if (!this.isMute) listener.onEntries(entries) },
      onClosed: () => { listener.onClosed() },
      onStop: fence => { listener.onStop(fence) },
      onResync: () => { listener.onResync() }
    }
    this.#listeners.set(topic, heard)
    return this.#log.follow(topic, heard)
  }
}

/** An app that listens, because waiting for a log does not keep a process alive. */
async function buildApp (t: Test, log: TopicLog): Promise<FastifyInstance> {
  const app = await buildTopicsApp(t, { log })
  await listen(app)
  return app
}

// Regression: the reader waited until the new numbers had exceeded its own, and then continued as if nothing were
// missing.
t.test('a client ahead of its feed receives a gap when the log has lost the events it has', async t => {
  const log = new PoorLog()
  const app = await buildApp(t, log)
  const live = await injectSse(app, '/events?topic=a')
  await publish(app, 'a', '1', '2', '3')
  await live.next(4)
  log.isMute = true
  const ids = await publish(app, 'a', '4', '5')
  log.onLocated = ({ n }) => { if (n === 5) log.lose() }
  const ahead = await injectSse(app, { url: '/events?topic=a', headers: { 'last-event-id': ids[1]! } })
  t.match(gapIn(await ahead.next(2)), { reason: 'expired', after: ids[1] })
  log.isMute = false
  await publish(app, 'a', 'new')
  t.same(dataOf(await ahead.next()), ['new'])
  t.same(dataOf(await live.next(2)), ['stream.gap', 'new'])
})

t.test('a feed that has not received the newest events queries the log when a client has them', async t => {
  const log = new PoorLog()
  const app = await buildApp(t, log)
  const live = await injectSse(app, '/events?topic=a&topic=b')
  await live.next()
  log.isMute = true
  await publish(app, 'a', '1', '2', '3')
  const late = await injectSse(app, '/events?topic=a&topic=b&last=2')
  t.same(dataOf(await late.next(1)), ['stream.open'], 'the feed delivers what it has not received')
  const ids = await publish(app, 'b', '4')
  const other = await injectSse(app, { url: '/events?topic=b&topic=a', headers: { 'last-event-id': ids[0]! } })
  await other.next()
  t.same(dataOf(await live.next(1)), ['4'])
})

for (const what of ['read', 'locate'] as const) {
  t.test(`a client that disconnects while the log cannot be queried to ${what} is released`, async t => {
    const log = new PoorLog()
    const app = await buildTopicsApp(t, { log })
    const running: (void | Promise<void>)[] = []
    app.get('/watched', (request, reply) => {
      const source = app.topics.subscribe('a')
      return reply.sse({
        open: async stream => {
          const run = await source.open(stream)
          return run && (() => {
            running.push(run())
            return running[0]
          })
        }
      })
    })
    await listen(app)
    await publish(app, 'a', '1')
    const live = await injectSse(app, '/events?topic=a')
    await live.next()
    const [first] = await publish(app, 'a', '2', '3')
    await live.next(2)
    log.onLocated = () => {
      log.away.add(what)
      if (what === 'locate') log.lose()
    }
    const stream = await injectSse(app, { url: '/watched', headers: { 'last-event-id': first! } })
    await stream.next()
    stream.close()
    await running[0]
    t.equal(stream.events.length, 1)
  })
}

t.test('readers are visited in slices, and a batch that arrives meanwhile reaches all of them', async t => {
  const log = new MemoryLog()
  const hub = new Hub(log, { maxTailBytes: 1_000_000, onTrouble: () => t.fail() })
  const { feed, release } = await hub.acquire(['a'])
  const seen = Array.from({ length: 2_500 }, () => 0)
  let visitedInOneTurn = 0
  const pump = (at: number) => (): boolean => {
    // As long as a write to a socket takes.
    for (const endMs = performance.now() + 0.01; performance.now() < endMs;);
    while (feed.batch(seen[at]!)) seen[at]!++
    if (at > 0 || visitedInOneTurn > 0) return true
    visitedInOneTurn = 1
    void log.append('a', newEvents(1))
    setImmediate(() => { visitedInOneTurn = seen.filter(count => count > 0).length })
    return true
  }
  seen.forEach((_, at) => { feed.add({ pump: pump(at), fail: () => t.fail() }) })
  await log.append('a', newEvents(1))
  await until(() => seen.every(count => count === 2))
  t.ok(visitedInOneTurn < 2_500, `the event loop runs between slices: after ${visitedInOneTurn}`)
  release()
})
