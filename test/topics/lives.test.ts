import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import type { InjectedStream } from '../../plugin/testing/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import type { RetentionRule, TopicLog } from '../../plugin/topics/index.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import { until } from '../support/until.ts'
import { dataOf, gapIn } from '../support/redis/redis-app.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

/** Every log must recognise a cursor that a client kept, whatever happened to the topic meanwhile. */
type MakeLog = (t: Test, retention: RetentionRule[]) => TopicLog | Promise<TopicLog>

/**
 * Long enough for a busy machine to complete the test within it, and longer than anything is cached. The logs wait in
 * parallel.
 */
const EXPIRE_AFTER_MS = 4_000

t.jobs = 3

const logs: Record<string, MakeLog> = {
  memory: (t, retention) => new MemoryLog({ retention }),
  LMDB: async (t, retention) => {
    const folder = await mkdtemp(join(tmpdir(), 'lives-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    return new LmdbLog({ folder, retention, durability: 'process' })
  },
  Redis: async (t, retention) => new RedisLog({ connection: (await RedisServer.start(t)).url, retention })
}

const logOf = new Map<FastifyInstance, TopicLog>()

for (const [name, makeLog] of Object.entries(logs)) {
  t.test(`the ${name} log`, { buffered: true }, async t => {
    const build = async (t: Test, retention: RetentionRule[] = []): Promise<FastifyInstance> => {
      const log = await makeLog(t, retention)
      const app = await buildTopicsApp(t, { log })
      logOf.set(app, log)
      await until(() => app.topics.info('a').then(() => true, () => false))
      return app
    }
    testStarts(t, build)
    testReopened(t, build)
    testLives(t, build)
  })
}

function connect (app: FastifyInstance, query: string, cursor?: string): Promise<InjectedStream> {
  return injectSse(app, { url: `/events?${query}`, headers: cursor === undefined ? {} : { 'last-event-id': cursor } })
}

type Build = (t: Test, retention?: RetentionRule[]) => Promise<FastifyInstance>

function testStarts (t: Test, build: Build): void {
  // Regression: the id of stream.open combined the time of one event with the number of another. A client that
  // reconnected with it got a gap "unknown" and all retained events again.
  t.test('a client that started with last or since and lost its connection before its first event resumes without loss', async t => {
    const app = await build(t)
    for (const text of ['1', '2', '3', '4', '5']) await publish(app, 'a', text)
    for (const start of ['last=2', 'last=0', 'last=5', 'last=9', 'sinceMs=60000', 'sinceMs=1']) {
      const whole = await connect(app, `topic=a&${start}`)
      const cut = await connect(app, `topic=a&${start}`)
      const [open] = await cut.next()
      cut.close()
      const again = await connect(app, 'topic=a', open!.id)
      const end = `end of ${start}`
      await publish(app, 'a', end)
      const wanted = await readTo(whole, end)
      t.same(wanted.filter(data => data.startsWith('stream.')), ['stream.open'], start)
      t.same(await readTo(again, end), wanted, start)
      for (const stream of [whole, again]) stream.close()
    }
  })

  t.test('with several topics a client resumes without loss from each frame of its first replay', async t => {
    const app = await build(t)
    for (const text of ['1', '2', '3', '4']) {
      for (const topic of ['a', 'b', 'c']) await publish(app, topic, `${topic}${text}`)
    }
    const query = 'topic=a&topic=b&topic=c'
    const whole = await connect(app, `${query}&last=3`)
    const events = await whole.next(10)
    whole.close()
    const all = dataOf(events).slice(1)
    t.equal(all.length, 9)
    for (const [at, { id }] of events.entries()) {
      const again = await connect(app, query, id)
      const rest = dataOf(await again.next(10 - at)).slice(1)
      again.close()
      t.same(rest, all.slice(at), `after frame ${at}`)
    }
  })
}

/** Names and data of the events up to this one. */
async function readTo (stream: InjectedStream, last: string): Promise<string[]> {
  const seen: string[] = []
  while (seen.at(-1) !== last) seen.push(...dataOf(await stream.next()))
  return seen
}

function testReopened (t: Test, build: Build): void {
  // Regression: the feed of an open stream kept the end of a topic that had been deleted since: new clients received
  // stream.end, and a client that had read it to its end got 204, after which an EventSource never reconnects.
  t.test('a topic that is closed and then deleted is open again, for connected and for new clients', async t => {
    const app = await build(t)
    const both = await connect(app, 'topic=a&topic=b')
    const only = await connect(app, 'topic=a')
    await publish(app, 'a', '1')
    await app.topics.close('a')
    t.same(dataOf(await both.next(3)), ['stream.open', '1', 'stream.end'])
    const ended = (await only.end()).at(-1)!.id
    t.equal((await connect(app, 'topic=a', ended)).statusCode, 204)
    await app.topics.delete('a')
    const again = await connect(app, 'topic=a', ended)
    t.equal(again.statusCode, 200)
    const newcomer = await connect(app, 'topic=a&topic=b')
    await newcomer.next()
    await publish(app, 'a', '2')
    t.same(dataOf(await both.next()), ['2'])
    t.same(dataOf(await again.next(2)), ['stream.open', '2'])
    t.same(dataOf(await newcomer.next()), ['2'])
    await app.topics.close('a')
    for (const stream of [both, newcomer]) {
      t.same(dataOf(await stream.next()), ['stream.end'], 'its second end is reported too')
    }
    t.same(dataOf(await again.end()), ['stream.open', '2', 'stream.end'])
    for (const stream of [both, newcomer]) stream.close()
  })
}

async function forget (app: FastifyInstance, topic: string): Promise<void> {
  await until(async () => (await app.topics.info(topic)).last === null)
}

function testLives (t: Test, build: Build): void {
  t.test('a client that connected before a topic had events receives a gap if the topic was created and deleted meanwhile', async t => {
    const app = await build(t, [{ topics: '*', expireAfterMs: EXPIRE_AFTER_MS }])
    for (const [topic, query] of [['one', 'topic=one'], ['two', 'topic=two&topic=three']] as const) {
      const before = await connect(app, query)
      const [open] = await before.next()
      before.close()
      const unused = await connect(app, query, open!.id)
      t.same(dataOf(await unused.next()), ['stream.open'])
      unused.close()
      await publish(app, topic, 'missed')
      await forget(app, topic)
      const empty = await connect(app, query, open!.id)
      await empty.next(2)
      t.match(gapIn(empty.events), { topic, reason: 'expired', resumedAt: null })
      const told = empty.events.at(-1)!.id
      empty.close()
      await publish(app, topic, 'new')
      const late = await connect(app, query, open!.id)
      t.match(gapIn(await late.next(3)), { topic, reason: 'expired' })
      t.equal(late.events.at(-1)!.data, 'new')
      late.close()
      const exact = await connect(app, query, told)
      t.same(dataOf(await exact.next(2)), ['stream.open', 'new'], 'after it received the gap, it resumes without loss')
      exact.close()
    }
  })

  t.test('a client of a topic that never had an event receives no gap, however long it was disconnected', async t => {
    const app = await build(t, [{ topics: '*', expireAfterMs: EXPIRE_AFTER_MS }])
    const before = await connect(app, 'topic=a')
    const [open] = await before.next()
    before.close()
    await publish(app, 'other', 'x')
    await forget(app, 'other')
    await publish(app, 'a', '1')
    const after = await connect(app, 'topic=a', open!.id)
    t.same(dataOf(await after.next(2)), ['stream.open', '1'])
    after.close()
  })

  // Regression: its position was number 0, and the first event of the topic's next life has the number 1.
  t.test('a slow client of several topics receives a gap when one is forgotten while it reads another', async t => {
    const app = await build(t, [{ topics: 'b', expireAfterMs: EXPIRE_AFTER_MS }, { topics: '*' }])
    const opened = await connect(app, 'topic=a&topic=b')
    const [open] = await opened.next()
    opened.close()
    await publish(app, 'a', 'a1')
    await publish(app, 'b', 'old1', 'old2', 'old3')
    const { promise: mayRead, settle } = deferred<void>()
    const log = logOf.get(app)!
    const read = log.read.bind(log)
    log.read = async (topic, ...rest) => {
      if (topic === 'a') await mayRead
      return read(topic, ...rest)
    }
    const slow = await connect(app, 'topic=a&topic=b', open!.id)
    await forget(app, 'b')
    await publish(app, 'b', 'new1', 'new2', 'new3')
    settle()
    const events = await slow.next(6)
    t.same(dataOf(events), ['stream.open', 'a1', 'stream.gap', 'new1', 'new2', 'new3'])
    t.match(gapIn(events), { topic: 'b', reason: 'expired' })
    slow.close()
  })
}
