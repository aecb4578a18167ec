import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../plugin/index.ts'
import topics, { MemoryLog, topicsErrors } from '../../plugin/topics/index.ts'
import type { TopicLog } from '../../plugin/topics/index.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { open } from '../support/client.ts'
import { listen } from '../support/app.ts'
import { until } from '../support/log-contract.ts'
import { RedisServer } from '../support/redis-server.ts'

type MakeLog = (t: Test) => Promise<TopicLog>

const LOGS: Record<string, (t: Test) => Promise<MakeLog>> = {
  memory: async () => async () => new MemoryLog(),
  LMDB: async () => async t => {
    const folder = await mkdtemp(join(tmpdir(), 'lmdb-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    return new LmdbLog({ folder })
  },
  Redis: async t => {
    const server = await RedisServer.start(t)
    return async () => new RedisLog({ connection: server.url, prefix: `${randomUUID()}:`, commandTimeoutMs: 60_000 })
  }
}

async function buildApp (t: Test, log: TopicLog): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sse)
  await app.register(topics, { log })
  app.get<{ Params: { topic: string } }>('/:topic', (request, reply) => reply.sse(app.topics.subscribe(request.params.topic, { last: 100 })))
  t.teardown(() => app.close())
  await app.ready()
  return app
}

const dataOf = async (app: FastifyInstance, topic: string): Promise<string[]> => (await app.topics.read(topic, { limit: 1_000 })).events.map(({ data }) => data)

/** A source that gives what the test pushes, and ends when it says so. */
class Tap {
  readonly #items: unknown[] = []
  #wake = (): void => {}
  #isOver = false
  isReleased = false

  push (item: unknown): void {
    this.#items.push(item)
    this.#wake()
  }

  end (): void {
    this.#isOver = true
    this.#wake()
  }

  async * items (): AsyncGenerator<unknown> {
    try {
      for (;;) {
        while (this.#items.length > 0) yield this.#items.shift()
        if (this.#isOver) return
        await new Promise<void>(resolve => { this.#wake = resolve })
      }
    } finally {
      this.isReleased = true
    }
  }
}

for (const [name, prepare] of Object.entries(LOGS)) {
  t.test(`producers on the ${name} log`, async t => {
    const makeLog = await prepare(t)
    const start = async (t: Test): Promise<FastifyInstance> => buildApp(t, await makeLog(t))

    t.test('a source is published to its end, and readers learn how it ended', async t => {
      const app = await start(t)
      const producer = await app.topics.produce('chat', async function * () {
        for (let at = 1; at <= 250; at++) yield { event: 'token', data: `t${at}` }
      })
      t.same(await producer.done, { reason: 'done' })
      t.same(await dataOf(app, 'chat'), Array.from({ length: 250 }, (_, at) => `t${at + 1}`))
      const { isClosed, reason, message, producer: who } = await app.topics.info('chat')
      t.same({ isClosed, reason, message, who }, { isClosed: true, reason: 'done', message: null, who: null })
      const { inbox } = await open(t, `${await listen(app)}/chat`)
      t.match(await inbox.ended(), /data: t250\n\nid: \S+\nevent: stream.end\ndata: {"topic":"chat","reason":"done"}\n\n$/)
      await t.rejects(app.topics.produce('chat', ['more']), { code: 'TOPICS_CLOSED' })
      await t.rejects(app.topics.publish('chat', { data: 'more' }), { code: 'TOPICS_CLOSED' })
    })

    t.test('a reader that joins in the middle gets everything, and the source does not wait for readers', async t => {
      const app = await start(t)
      const tap = new Tap()
      const producer = await app.topics.produce('chat', tap.items(), { batchMs: 0 })
      tap.push('one')
      await until(async () => (await dataOf(app, 'chat')).length === 1)
      const { inbox } = await open(t, `${await listen(app)}/chat`)
      await inbox.until('data: one\n')
      tap.push({ event: 'token', data: { text: 'two' } })
      await inbox.until('event: token\ndata: {"text":"two"}\n')
      t.match((await app.topics.info('chat')).producer, { lease: producer.lease, holder: /:\d+$/, accepted: 2 })
      tap.end()
      await inbox.until('stream.end')
      t.same(await producer.done, { reason: 'done' })
    })

    t.test('a source that fails closes the topic, with a message that hides what is internal', async t => {
      const app = await start(t)
      const fail = (error: Error) => async function * () {
        yield 'begun'
        throw error
      }
      const internal = new Error('password=1234')
      t.same(await (await app.topics.produce('a', fail(internal))).done, { reason: 'failed', error: internal })
      t.match(await app.topics.info('a'), { reason: 'failed', message: 'Internal Server Error', count: 1 })
      const known = Object.assign(new Error('no such model'), { statusCode: 404 })
      await (await app.topics.produce('b', fail(known))).done
      t.match(await app.topics.info('b'), { reason: 'failed', message: 'no such model' })
      await (await app.topics.produce('c', fail(known), { describeError: () => 'x'.repeat(5_000) })).done
      t.equal((await app.topics.info('c')).message, 'x'.repeat(1_000))
      await (await app.topics.produce('d', fail(known), { describeError: () => { throw new Error('again') } })).done
      t.equal((await app.topics.info('d')).message, 'Internal Server Error')
      const { inbox } = await open(t, `${await listen(app)}/b`)
      t.match(await inbox.ended(), 'event: stream.end\ndata: {"topic":"b","reason":"failed","message":"no such model"}\n')
    })

    t.test('an event that cannot be published is a failure, and what came before it is there', async t => {
      const app = await start(t)
      const { done } = await app.topics.produce('a', ['one', { event: 'stream.x', data: 'two' }, 'three'])
      t.match(await done, { reason: 'failed', error: { code: 'TOPICS_BAD_EVENT' } })
      t.same(await dataOf(app, 'a'), ['one'])
      t.match((await app.topics.info('a')).message, /must not begin with "stream\."/)
      const { done: second } = await app.topics.produce('b', [{ what: 'ever' }])
      t.match(await second, { reason: 'failed', error: { code: 'TOPICS_BAD_SOURCE' } })
    })

    t.test('stop() aborts the signal, releases the source, keeps what it gave, and closes the topic', async t => {
      const app = await start(t)
      const tap = new Tap()
      let signal: AbortSignal | undefined
      const producer = await app.topics.produce('chat', context => { signal = context.signal; return tap.items() }, { batchMs: 10_000 })
      tap.push('one')
      t.equal(await app.topics.stop('chat', { lease: producer.lease - 1 }), false, 'a stale stop does nothing')
      t.equal(signal?.aborted, false)
      tap.push('two')
      await until(() => signal !== undefined)
      t.equal(await app.topics.stop('chat'), true)
      t.same(await producer.done, { reason: 'stopped' })
      t.equal(signal?.aborted, true)
      const data = await dataOf(app, 'chat')
      t.same(data, ['one', 'two'].slice(0, data.length), 'what was read of the source is published')
      t.match(await app.topics.info('chat'), { isClosed: true, reason: 'stopped' })
      t.equal(await app.topics.stop('chat'), false)
      t.equal(await app.topics.stop('other'), false)
    })

    t.test('a stop does not wait for a source that never gives anything, nor for one that ignores it', async t => {
      const app = await start(t)
      const never = await app.topics.produce('a', async function * () { yield await new Promise(() => {}) })
      t.same(await never.stop(), { reason: 'stopped' })
      const pending = await app.topics.produce('b', () => new Promise<string[]>(() => {}))
      t.same(await pending.stop(), { reason: 'stopped' })
      const failing = await app.topics.produce('c', ({ signal }) => new Promise<string[]>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')))
      }))
      t.same(await failing.stop(), { reason: 'stopped' }, 'what fails because of the stop is no failure')
      const controller = new AbortController()
      const { done } = await app.topics.produce('d', new Tap().items(), { signal: controller.signal })
      controller.abort()
      t.same(await done, { reason: 'stopped' })
      t.same(await (await app.topics.produce('e', ['x'], { signal: controller.signal })).done, { reason: 'stopped' })
    })

    t.test('a second producer is refused with who holds the topic, or takes over when it asks to', async t => {
      const app = await start(t)
      const tap = new Tap()
      const first = await app.topics.produce('chat', tap.items(), { holder: 'one', batchMs: 0 })
      tap.push('1')
      await until(async () => (await dataOf(app, 'chat')).length === 1)
      await t.rejects(app.topics.produce('chat', ['x']), { code: 'TOPICS_PRODUCER_EXISTS', statusCode: 409, message: /"one"/ })
      const other = new Tap()
      const second = await app.topics.produce('chat', other.items(), { holder: 'two', takeOver: true, batchMs: 0 })
      t.ok(second.lease > first.lease)
      tap.push('late')
      t.same(await first.done, { reason: 'superseded' })
      tap.end()
      await until(() => tap.isReleased)
      other.push('2')
      other.end()
      t.same(await second.done, { reason: 'done' })
      t.same(await dataOf(app, 'chat'), ['1', '2'])
    })

    t.test('a topic that is closed or deleted by others ends its producer', async t => {
      const app = await start(t)
      const tap = new Tap()
      const closed = await app.topics.produce('a', tap.items())
      await app.topics.close('a')
      t.same(await closed.done, { reason: 'closed' })
      const other = new Tap()
      const deleted = await app.topics.produce('b', other.items())
      await app.topics.delete('b')
      t.same(await deleted.done, { reason: 'superseded' })
      t.match(await app.topics.info('b'), { isClosed: false, reason: null, producer: null })
      t.same(await (await app.topics.produce('b', ['again'])).done, { reason: 'done' })
    })

    t.test('a lease is renewed while the source is silent, and runs out when nobody renews it', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      const tap = new Tap()
      const producer = await app.topics.produce('quiet', tap.items(), { leaseMs: 5_000 })
      const gone = await log.lease('gone', { do: 'take', holder: 'a process that died', leaseMs: 3_000, takeOver: false })
      const { inbox } = await open(t, `${await listen(app)}/gone`)
      await inbox.until('stream.open')
      await log.append('gone', [{ event: undefined, data: 'last words', retry: undefined }], { lease: { fence: gone.fence, accepted: 0 } })
      t.match(await inbox.ended(), /data: last words\n\nid: \S+\nevent: stream.end\ndata: {"topic":"gone","reason":"lost"}\n\n$/)
      await t.rejects(log.append('gone', [{ event: undefined, data: 'x', retry: undefined }], { lease: { fence: gone.fence, accepted: 1 } }), { code: 'TOPICS_CLOSED' })
      let remainingMs = 5_000
      await until(async () => {
        const before = remainingMs
        remainingMs = (await app.topics.info('quiet')).producer?.remainingMs ?? 0
        return remainingMs > before || remainingMs === 0
      })
      t.match(await app.topics.info('quiet'), { isClosed: false, producer: { lease: producer.lease } }, 'renewed')
      tap.end()
      t.same(await producer.done, { reason: 'done' })
    })

    t.test('an append whose answer was lost is not done twice', async t => {
      const log = await makeLog(t)
      await buildApp(t, log)
      const { fence } = await log.lease('a', { do: 'take', holder: 'x', leaseMs: 60_000, takeOver: false })
      const events = ['1', '2'].map(data => ({ event: undefined, data, retry: undefined }))
      t.equal((await log.append('a', events, { lease: { fence, accepted: 0 } })).isRepeat, false)
      t.same(await log.append('a', events, { lease: { fence, accepted: 0 } }), { ids: [], isRepeat: true })
      t.equal((await log.append('a', events, { lease: { fence, accepted: 2 } })).isRepeat, false)
      await t.rejects(log.append('a', events, { lease: { fence: fence - 1, accepted: 4 } }), { code: 'TOPICS_LEASE_LOST' })
      await t.rejects(log.append('b', events, { lease: { fence, accepted: 0 } }), { code: 'TOPICS_LEASE_LOST' })
      t.match(await log.lease('a', { do: 'end', fence, reason: 'failed', message: 'so' }), { outcome: 'ok', isClosed: true, reason: 'failed', message: 'so' })
      t.same(await log.append('a', events, { lease: { fence, accepted: 2 } }), { ids: [], isRepeat: true }, 'also after the end')
      t.match(await log.lease('a', { do: 'renew', fence }), { outcome: 'closed', reason: 'failed' })
      await log.close('a')
      t.match(await log.lease('a', { do: 'look' }), { outcome: 'closed', reason: 'failed', message: 'so' }, 'the first end counts')
      t.match(await log.lease('b', { do: 'look' }), { outcome: 'none', fence: 0, holder: '', isClosed: false })
      t.match(await log.lease('b', { do: 'renew', fence: 1 }), { outcome: 'superseded' })
      t.match(await log.lease('b', { do: 'stop', fence: undefined }), { outcome: 'none' })
    })

    t.test('when the app closes its producers end as lost, and readers need not wait for the lease', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      const { done } = await app.topics.produce('a', new Tap().items())
      await app.close()
      t.same(await done, { reason: 'lost' })
    })
  })
}

t.test('every kind of source, and an event stream of another server', async t => {
  const app = await buildApp(t, new MemoryLog())
  const upstream = createServer((request, response) => {
    response.writeHead(request.url === '/404' ? 404 : 200, { 'content-type': 'text/event-stream' })
    response.end('id: 7\nevent: token\ndata: a\ndata: b\n\nevent: stream.open\ndata\n\ndata: c\n\n')
  }).listen(0, '127.0.0.1')
  t.teardown(() => upstream.close())
  await once(upstream, 'listening')
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const sources = {
    array: ['x', 1, null, { id: '9', event: 'e', data: 'y', retry: 5 }],
    readable: Readable.from(['x', 'y']),
    bytes: Readable.from([Buffer.from('€').subarray(0, 1), Buffer.from('€').subarray(1)]),
    web: new Blob(['hello']).stream(),
    response: () => fetch(url),
    missing: () => fetch(`${url}/404`),
    untyped: () => new Response('x'),
    nothing: async () => undefined as unknown as string[],
    cut: Readable.from([Buffer.from('€').subarray(0, 1)])
  }
  const ends: Record<string, string> = {}
  for (const [topic, source] of Object.entries(sources)) {
    const { reason, error } = await (await app.topics.produce(topic, source)).done
    ends[topic] = error ? `${reason} ${(error as { code: string }).code}` : reason
  }
  t.same(ends, { array: 'done', readable: 'done', bytes: 'done', web: 'done', response: 'done', missing: 'failed TOPICS_BAD_UPSTREAM', untyped: 'failed TOPICS_BAD_UPSTREAM', nothing: 'failed TOPICS_BAD_SOURCE', cut: 'failed ERR_ENCODING_INVALID_ENCODED_DATA' })
  const published = await Promise.all(['array', 'readable', 'bytes', 'web', 'response'].map(topic => dataOf(app, topic)))
  t.same(published, [['x', '1', 'null', 'y'], ['x', 'y'], ['€'], ['hello'], ['a\nb', 'c']])
  t.same((await app.topics.read('response')).events.map(({ event }) => event), ['token', undefined])
})

t.test('bad input is refused before the topic is taken', async t => {
  const app = await buildApp(t, new MemoryLog())
  const bad = [
    [{ leaseMs: 99 }, /"leaseMs" must be an integer from 100 to 3600000, saw 99/], [{ batchMs: -1 }, /"batchMs"/], [{ batchEvents: 0 }, /"batchEvents"/],
    [{ takeOver: 1 }, /"takeOver"/], [{ holder: 'a\nb' }, /"holder"/], [{ signal: {} }, /"signal"/], [{ describeError: 'x' }, /"describeError"/], [{ leaseMS: 5 }, /"leaseMS" must be one of/]
  ] as const
  for (const [options, message] of bad) await t.rejects(app.topics.produce('a', ['x'], options as object), { code: 'TOPICS_BAD_OPTION', message })
  await t.rejects(app.topics.produce('a', ['x'], null as never), { code: 'TOPICS_BAD_OPTION' })
  for (const source of [undefined, null, 5, {}]) await t.rejects(app.topics.produce('a', source as never), { code: 'TOPICS_BAD_SOURCE' })
  await t.rejects(app.topics.produce('no topic', ['x']), { code: 'TOPICS_BAD_TOPIC' })
  await t.rejects(app.topics.stop('a', { lease: 'x' as never }), { code: 'TOPICS_BAD_OPTION' })
  t.match(await app.topics.info('a'), { isClosed: false, producer: null, count: 0 })
})

t.test('a slow log holds the source back: it is never more than two batches ahead', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  const append = log.append.bind(log)
  let release = (): void => {}
  log.append = async (...args) => {
    await new Promise<void>(resolve => { release = resolve })
    return append(...args)
  }
  let given = 0
  const { done } = await app.topics.produce('a', async function * () { while (given < 100) yield `${++given}` }, { batchEvents: 10, batchMs: 0 })
  let most = 0
  for (let written = 0; written < 100; written += 10) {
    await until(() => release.name === 'resolve' || given > 0)
    const before = given
    await new Promise(resolve => setImmediate(resolve))
    most = Math.max(most, before - written)
    release()
    await until(async () => (await app.topics.info('a')).count > written)
    written = (await app.topics.info('a')).count - 10
  }
  const poll = setInterval(() => release(), 1)
  t.teardown(() => clearInterval(poll))
  t.same(await done, { reason: 'done' })
  t.ok(most <= 21, `at most ${most} ahead`)
  t.equal((await app.topics.info('a')).count, 100)
})

const AWAY = new topicsErrors.TOPICS_LOG_UNAVAILABLE('away')

t.test('while the log is away a producer waits, and nothing is lost or repeated', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // What waits here does not keep a process alive; a server does.
  await listen(app)
  const append = log.append.bind(log)
  const lease = log.lease.bind(log)
  let calls = 0
  log.append = async (...args) => {
    // Refused, then done without an answer, then in order.
    if (++calls % 3 === 1) throw AWAY
    const appended = await append(...args)
    if (calls % 3 === 2) throw AWAY
    return appended
  }
  log.lease = async (topic, request) => {
    const reply = await lease(topic, request)
    if (request.do === 'end' && ++calls % 2 === 1) throw AWAY
    if (request.do === 'renew') throw AWAY
    return reply
  }
  const source = async function * () {
    for (let at = 0; at < 20; at++) {
      yield `${at}`
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
  const { done } = await app.topics.produce('a', source, { batchEvents: 5, batchMs: 0, leaseMs: 60_000 })
  t.same(await done, { reason: 'done' })
  t.same(await dataOf(app, 'a'), Array.from({ length: 20 }, (_, at) => `${at}`))
})

t.test('an app that closes while the log is away does not wait for it', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  log.append = () => Promise.reject(AWAY)
  const { done } = await app.topics.produce('a', ['x'])
  await app.close()
  t.match(await done, { reason: 'lost', error: { code: 'TOPICS_LOG_UNAVAILABLE' } })
})

t.test('a stop whose message got lost is heard with the next renewal', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // What waits here does not keep a process alive; a server does.
  await listen(app)
  const follow = log.follow.bind(log)
  log.follow = (topic, listener) => follow(topic, {
    onEntries: entries => { listener.onEntries(entries) },
    onClosed: () => { listener.onClosed() },
    onDoubt: () => { listener.onDoubt() },
    onStop () {}
  })
  const { done } = await app.topics.produce('a', new Tap().items(), { leaseMs: 3_000 })
  t.equal(await app.topics.stop('a'), true)
  t.same(await done, { reason: 'stopped' })
})

t.test('an end that cannot be looked up is a close', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // What waits here does not keep a process alive; a server does.
  await listen(app)
  const lease = log.lease.bind(log)
  const tap = new Tap()
  const { done } = await app.topics.produce('a', tap.items(), { batchMs: 0 })
  log.lease = (topic, request) => request.do === 'take' ? lease(topic, request) : Promise.reject(AWAY)
  await log.close('a')
  tap.push('late')
  t.same(await done, { reason: 'closed' })
})

t.test('a lease that could not be looked at is looked at again', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  const lease = log.lease.bind(log)
  await log.lease('a', { do: 'take', holder: 'gone', leaseMs: 100, takeOver: false })
  let refused = 0
  log.lease = (topic, request) => request.do === 'look' && refused++ === 0 ? Promise.reject(AWAY) : lease(topic, request)
  const { inbox } = await open(t, `${await listen(app)}/a`)
  t.match(await inbox.ended(), '{"topic":"a","reason":"lost"}')
})

t.test('a lease taken while a topic has readers is watched, and a renewed one is watched again', async t => {
  let now = 0
  const log = new MemoryLog({ now: () => now })
  const app = await buildApp(t, log)
  const { inbox } = await open(t, `${await listen(app)}/a`)
  await inbox.until('stream.open')
  const { fence } = await log.lease('a', { do: 'take', holder: 'x', leaseMs: 100, takeOver: false })
  let looks = 0
  const lease = log.lease.bind(log)
  log.lease = (topic, request) => {
    if (request.do === 'look') looks++
    return lease(topic, request)
  }
  now = 60
  await log.lease('a', { do: 'renew', fence })
  await until(() => looks === 2)
  t.notOk(inbox.text.includes('stream.end'))
  now = 160
  t.match(await inbox.ended(), '{"topic":"a","reason":"lost"}')
})
