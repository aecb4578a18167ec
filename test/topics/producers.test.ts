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
import { open } from '../support/clients/client.ts'
import { listen } from '../support/apps/app.ts'
import { ORIGIN } from '../../plugin/topics/ids/event-id.ts'
import { until } from '../support/until.ts'
import { RedisServer } from '../support/redis/redis-server.ts'

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
  app.get<{ Params: { topic: string } }>(
    '/:topic',
    (request, reply) => reply.sse(app.topics.subscribe(request.params.topic, { last: 100 }))
  )
  t.teardown(() => app.close())
  await app.ready()
  return app
}

const dataOf = async (app: FastifyInstance, topic: string): Promise<string[]> =>
  (await app.topics.read(topic, { limit: 1_000 })).events.map(({ data }) => data)

/** A source that yields what the test pushes, and ends on request. */
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

    t.test('a source is published to its end, and readers receive how it ended', async t => {
      const app = await start(t)
      const producer = await app.topics.produce('chat', async function * () {
        for (let at = 1; at <= 250; at++) yield { event: 'token', data: `t${at}` }
      })
      t.same(await producer.done, { reason: 'done' })
      t.same(await dataOf(app, 'chat'), Array.from({ length: 250 }, (_, at) => `t${at + 1}`))
      const { isClosed, reason, message, producer: who } = await app.topics.info('chat')
      t.same({ isClosed, reason, message, who }, { isClosed: true, reason: 'done', message: null, who: null })
      const { inbox } = await open(t, `${await listen(app)}/chat`)
      t.match(
        await inbox.ended(),
        /data: t250\n\nid: \S+\nevent: stream.end\ndata: {"topic":"chat","reason":"done"}\n\n$/
      )
      await t.rejects(app.topics.produce('chat', ['more']), { code: 'TOPICS_CLOSED' })
      await t.rejects(app.topics.publish('chat', { data: 'more' }), { code: 'TOPICS_CLOSED' })
    })

    t.test('a reader that joins in the middle receives everything, and the source does not wait for readers', async t => {
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

    t.test('a source that fails closes the topic, with a message that hides internal details', async t => {
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
      await (await app.topics.produce('e', fail(known), { describeError: () => 5 as never })).done
      t.match(await app.topics.info('e'), { reason: 'failed', message: 'no such model' })
      const { inbox } = await open(t, `${await listen(app)}/b`)
      t.match(
        await inbox.ended(),
        'event: stream.end\ndata: {"topic":"b","reason":"failed","message":"no such model"}\n'
      )
    })

    t.test('an event that cannot be published is a failure, and the events before it are stored', async t => {
      const app = await start(t)
      const { done } = await app.topics.produce('a', ['one', { event: 'stream.x', data: 'two' }, 'three'])
      t.match(await done, { reason: 'failed', error: { code: 'TOPICS_BAD_EVENT' } })
      t.same(await dataOf(app, 'a'), ['one'])
      t.match((await app.topics.info('a')).message, /must not begin with "stream\."/)
      const { done: second } = await app.topics.produce('b', [{ what: 'ever' }])
      t.match(await second, { reason: 'failed', error: { code: 'TOPICS_BAD_SOURCE' } })
    })

    t.test('stop() aborts the signal, releases the source, keeps its events, and closes the topic', async t => {
      const app = await start(t)
      const tap = new Tap()
      let signal: AbortSignal | undefined
      const producer = await app.topics.produce('chat', context => {
        signal = context.signal
        return tap.items()
      }, { batchMs: 10_000 })
      tap.push('one')
      t.equal(await app.topics.stop('chat', { lease: producer.lease - 1 }), false, 'a stale stop does nothing')
      for (const options of [{ lease: 1.5 }, { leas: producer.lease - 1 }, null]) {
        await t.rejects(app.topics.stop('chat', options as object), {
          code: 'TOPICS_BAD_OPTION'
        }, 'nor does a misspelled one')
      }
      t.equal(signal?.aborted, false)
      tap.push('two')
      await until(() => signal !== undefined)
      t.equal(await app.topics.stop('chat'), true)
      t.same(await producer.done, { reason: 'stopped' })
      t.equal(signal?.aborted, true)
      const data = await dataOf(app, 'chat')
      t.same(data, ['one', 'two'].slice(0, data.length), 'events read from the source are published')
      t.match(await app.topics.info('chat'), { isClosed: true, reason: 'stopped' })
      t.equal(await app.topics.stop('chat'), false)
      t.equal(await app.topics.stop('other'), false)
    })

    t.test('a stop does not wait for a source that never yields anything, nor for one that ignores it', async t => {
      const app = await start(t)
      const never = await app.topics.produce('a', async function * () { yield await new Promise(() => {}) })
      t.same(await never.stop(), { reason: 'stopped' })
      const pending = await app.topics.produce('b', () => new Promise<string[]>(() => {}))
      t.same(await pending.stop(), { reason: 'stopped' })
      const failing = await app.topics.produce('c', ({ signal }) => new Promise<string[]>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')))
      }))
      t.same(await failing.stop(), { reason: 'stopped' }, 'a failure caused by the stop is not a failure')
      const controller = new AbortController()
      const { done } = await app.topics.produce('d', new Tap().items(), { signal: controller.signal })
      controller.abort()
      t.same(await done, { reason: 'stopped' })
      t.same(await (await app.topics.produce('e', ['x'], { signal: controller.signal })).done, { reason: 'stopped' })
    })

    t.test('a second producer is rejected with the name of the first one, or takes over if it asks to', async t => {
      const app = await start(t)
      const tap = new Tap()
      const first = await app.topics.produce('chat', tap.items(), { holder: 'one', batchMs: 0 })
      tap.push('1')
      await until(async () => (await dataOf(app, 'chat')).length === 1)
      await t.rejects(app.topics.produce('chat', ['x']), {
        code: 'TOPICS_PRODUCER_EXISTS', statusCode: 409, message: /"one"/
      })
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

    t.test('a lease is renewed while the source is silent, and expires when it is not renewed', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      const tap = new Tap()
      const producer = await app.topics.produce('quiet', tap.items(), { leaseMs: 5_000 })
      const gone = await log.lease('gone', {
        do: 'take', holder: 'a process that died', leaseMs: 3_000, takeOver: false
      })
      const { inbox } = await open(t, `${await listen(app)}/gone`)
      await inbox.until('stream.open')
      await log.append('gone', [{ event: undefined, data: 'last words', retry: undefined }], {
        lease: { fence: gone.fence, accepted: 0 }
      })
      t.match(
        await inbox.ended(),
        /data: last words\n\nid: \S+\nevent: stream.end\ndata: {"topic":"gone","reason":"lost"}\n\n$/
      )
      await t.rejects(log.append('gone', [{ event: undefined, data: 'x', retry: undefined }], {
        lease: { fence: gone.fence, accepted: 1 }
      }), { code: 'TOPICS_CLOSED' })
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

    t.test('an append whose response was lost is not stored twice', async t => {
      const log = await makeLog(t)
      await buildApp(t, log)
      const { fence } = await log.lease('a', { do: 'take', holder: 'x', leaseMs: 60_000, takeOver: false })
      const events = ['1', '2'].map(data => ({ event: undefined, data, retry: undefined }))
      t.equal((await log.append('a', events, { lease: { fence, accepted: 0 } })).isRepeat, false)
      t.same(await log.append('a', events, { lease: { fence, accepted: 0 } }), { ids: [], isRepeat: true })
      t.equal((await log.append('a', events, { lease: { fence, accepted: 2 } })).isRepeat, false)
      await t.rejects(log.append('a', events, { lease: { fence: fence - 1, accepted: 4 } }), {
        code: 'TOPICS_LEASE_LOST'
      })
      await t.rejects(log.append('b', events, { lease: { fence, accepted: 0 } }), { code: 'TOPICS_LEASE_LOST' })
      t.match(await log.lease('a', { do: 'end', fence, reason: 'failed', message: 'so' }), {
        outcome: 'ok', isClosed: true, reason: 'failed', message: 'so'
      })
      t.same(await log.append('a', events, { lease: { fence, accepted: 2 } }), {
        ids: [], isRepeat: true
      }, 'also after the end')
      t.match(await log.lease('a', { do: 'renew', fence }), { outcome: 'closed', reason: 'failed' })
      await log.close('a')
      t.match(await log.lease('a', { do: 'look' }), {
        outcome: 'closed', reason: 'failed', message: 'so'
      }, 'the first end counts')
      t.match(await log.lease('b', { do: 'look' }), { outcome: 'none', fence: 0, holder: '', isClosed: false })
      t.match(await log.lease('b', { do: 'renew', fence: 1 }), { outcome: 'superseded' })
      t.match(await log.lease('b', { do: 'stop', fence: undefined }), { outcome: 'none' })
    })

    t.test('a producer with an id continues after an interruption, and events that the topic already has are skipped', async t => {
      const app = await start(t)
      t.match(await app.topics.producer('a'), {
        state: 'none', producerId: null, holder: null, lease: null, accepted: 0, silentMs: null, remainingMs: null
      })
      const broken = async function * () {
        yield * ['1', '2', '3']
        throw new topicsErrors.TOPICS_INTERRUPTED('the connection broke')
      }
      const first = await app.topics.produce('a', broken, { producerId: 'p' })
      t.match(await first.done, { reason: 'interrupted', error: { code: 'TOPICS_INTERRUPTED' } })
      t.equal(first.accepted, 3)
      t.match(await app.topics.producer('a'), {
        state: 'live', producerId: 'p', holder: 'id=p', lease: first.lease, accepted: 3, message: null
      })
      await t.rejects(app.topics.produce('a', ['x'], { producerId: 'q' }), {
        code: 'TOPICS_PRODUCER_EXISTS', message: /"id=p"/
      })
      await t.rejects(app.topics.produce('a', ['x'], { producerId: 'p', after: 4 }), {
        code: 'TOPICS_EVENTS_MISSING', statusCode: 409, message: /has 3 events .* after 4/
      })
      await t.rejects(app.topics.produce('b', ['x'], { producerId: 'p', after: 1 }), {
        code: 'TOPICS_EVENTS_MISSING', message: /"b" has 0 events/
      })
      t.match(await app.topics.info('b'), { isClosed: false, producer: null, count: 0 })
      const appended: number[] = []
      const second = await app.topics.produce('a', ['2', '3', '4', '5'], {
        producerId: 'p', after: 1, onAppend: accepted => { appended.push(accepted) }
      })
      t.ok(second.lease > first.lease)
      t.same(await second.done, { reason: 'done' })
      t.same([second.accepted, appended.at(-1)], [5, 5])
      t.same(await dataOf(app, 'a'), ['1', '2', '3', '4', '5'])
      t.match(await app.topics.producer('a'), { state: 'done', producerId: 'p', accepted: 5, lease: null })
      const nobody = await app.topics.produce('c', broken)
      t.match(await nobody.done, { reason: 'lost' }, 'nobody can continue it, so readers need not wait')
    })

    t.test('the same producer twice: the later one continues, and the earlier one is fenced off', async t => {
      const app = await start(t)
      const tap = new Tap()
      const first = await app.topics.produce('a', tap.items(), { producerId: 'p', batchMs: 0 })
      tap.push('1')
      await until(async () => (await dataOf(app, 'a')).length === 1)
      const second = await app.topics.produce('a', ['1', '2'], { producerId: 'p' })
      t.same(await first.done, { reason: 'superseded' })
      t.same(await second.done, { reason: 'done' })
      t.same(await dataOf(app, 'a'), ['1', '2'])
    })

    t.test('a stop that the producer did not receive ends it when it continues', async t => {
      const app = await start(t)
      const interrupted = async function * (): AsyncGenerator<string> { throw new topicsErrors.TOPICS_INTERRUPTED('x') }
      await (await app.topics.produce('a', interrupted, { producerId: 'p' })).done
      t.equal(await app.topics.stop('a'), true)
      const { done } = await app.topics.produce('a', new Tap().items(), { producerId: 'p' })
      t.same(await done, { reason: 'stopped' })
    })

    t.test('when the app closes, a producer with an id leaves its topic open, for another process to continue', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      const { done } = await app.topics.produce('a', new Tap().items(), { producerId: 'p' })
      await app.close()
      t.same(await done, { reason: 'interrupted' })
    })

    t.test('ttlMs sets how long a finished topic is kept', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      await (await app.topics.produce('a', ['x'], { leaseMs: 1_000, ttlMs: 2_000 })).done
      t.match(await app.topics.info('a'), { count: 1, isClosed: true })
      await until(async () => (await app.topics.info('a')).count === 0)
      t.match(await app.topics.info('a'), { count: 0, isClosed: false })
    })

    t.test('when the app closes, its producers end as lost, and readers need not wait for the lease', async t => {
      const log = await makeLog(t)
      const app = await buildApp(t, log)
      const { done } = await app.topics.produce('a', new Tap().items())
      await app.close()
      t.same(await done, { reason: 'lost' })
    })
  })
}

t.test('every kind of source is published, including an event stream of another server', async t => {
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
  t.same(ends, {
    array: 'done',
    readable: 'done',
    bytes: 'done',
    web: 'done',
    response: 'done',
    missing: 'failed TOPICS_BAD_UPSTREAM',
    untyped: 'failed TOPICS_BAD_UPSTREAM',
    nothing: 'failed TOPICS_BAD_SOURCE',
    cut: 'failed ERR_ENCODING_INVALID_ENCODED_DATA'
  })
  const published = await Promise.all([
    'array', 'readable', 'bytes', 'web', 'response'
  ].map(topic => dataOf(app, topic)))
  t.same(published, [['x', '1', 'null', 'y'], ['x', 'y'], ['€'], ['hello'], ['a\nb', 'c']])
  t.same((await app.topics.read('response')).events.map(({ event }) => event), ['token', undefined])
})

t.test('an upstream that never ends its event is abandoned before it fills the memory', async t => {
  const app = await buildApp(t, new MemoryLog())
  let isCancelled = false
  let pulled = 0
  for (const [topic, line] of [['line', 'x'], ['event', 'data: x\n']] as const) {
    const endless = new ReadableStream({
      pull (controller) { pulled++; controller.enqueue(Buffer.from(line.repeat(16_384 / line.length))) },
      cancel () { isCancelled = true }
    }, { highWaterMark: 0 })
    const { done } = await app.topics.produce(
      topic,
      new Response(endless, { headers: { 'content-type': 'text/event-stream' } })
    )
    t.match(await done, { reason: 'failed', error: { code: 'TOPICS_EVENT_TOO_LARGE' } })
    t.ok(isCancelled)
    t.ok(pulled < 200, `${pulled} chunks of 16 KiB`)
  }
})

t.test('invalid input is rejected before the topic is taken', async t => {
  const app = await buildApp(t, new MemoryLog())
  const bad = [
    [{ leaseMs: 99 }, /"leaseMs" must be an integer from 100 to 3600000, saw 99/], [{ batchMs: -1 }, /"batchMs"/],
    [{ batchEvents: 0 }, /"batchEvents"/],
    [{ takeOver: 1 }, /"takeOver"/], [{ holder: 'a\nb' }, /"holder"/], [{ signal: {} }, /"signal"/],
    [{ describeError: 'x' }, /"describeError"/], [{ leaseMS: 5 }, /"leaseMS" must be one of/],
    [{ producerId: 'a b' }, /"producerId" must be 1 to 100/], [{ producerId: 5 }, /"producerId"/],
    [{ after: 1 }, /"after" must be 0 without/], [{ producerId: 'a', after: -1 }, /"after"/],
    [{ producerId: 'a', holder: 'b' }, /"holder" must be absent/], [{ holder: 'id=b' }, /"holder"/], [
      { ttlMs: 29_999 }, /"ttlMs" must be an integer from leaseMs \(30000\)/
    ], [{ ttlMs: 4e10 }, /"ttlMs"/], [{ onAppend: 5 }, /"onAppend"/]
  ] as const
  for (const [options, message] of bad) {
    await t.rejects(app.topics.produce('a', ['x'], options as object), { code: 'TOPICS_BAD_OPTION', message })
  }
  await t.rejects(app.topics.produce('a', ['x'], null as never), { code: 'TOPICS_BAD_OPTION' })
  for (const source of [undefined, null, 5, {}]) {
    await t.rejects(app.topics.produce('a', source as never), { code: 'TOPICS_BAD_SOURCE' })
  }
  await t.rejects(app.topics.produce('no topic', ['x']), { code: 'TOPICS_BAD_TOPIC' })
  await t.rejects(app.topics.stop('a', { lease: 'x' as never }), { code: 'TOPICS_BAD_OPTION' })
  t.match(await app.topics.info('a'), { isClosed: false, producer: null, count: 0 })
})

// Regression: with a log in memory nothing waited for the event loop: 16 live publishes of 1 KB, which were a million
// empty lines each, delayed all other requests by 8 s.
t.test('other requests are answered while a source that is always ready is published, also to a log in memory', async t => {
  const app = await buildApp(t, new MemoryLog())
  const origin = await listen(app)
  let isAnswered = false
  let yielded = 0
  const answered = open(t, `${origin}/other`).then(() => { isAnswered = true })
  const source = function * () {
    for (; yielded < 400_000; yielded++) {
      if (isAnswered) return
      yield { data: '' }
    }
  }
  const { done } = await app.topics.produce('a', source)
  t.match(await done, { reason: 'done' })
  t.ok(yielded < 400_000, `after ${yielded} events`)
  await answered
})

t.test('a slow log slows the source down: it is never more than two batches ahead', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  const append = log.append.bind(log)
  let release = (): void => {}
  log.append = async (...args) => {
    await new Promise<void>(resolve => { release = resolve })
    return append(...args)
  }
  let given = 0
  const { done } = await app.topics.produce('a', async function * () {
    while (given < 100) yield `${++given}`
  }, { batchEvents: 10, batchMs: 0 })
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

t.test('while the log is unavailable a producer waits, and nothing is lost or repeated', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // Pending waits do not keep a process alive; a server does.
  await listen(app)
  const append = log.append.bind(log)
  const lease = log.lease.bind(log)
  let calls = 0
  log.append = async (...args) => {
    // Rejected, then executed without an answer, then normal.
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

t.test('an app that closes while the log is unavailable does not wait for it', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  log.append = () => Promise.reject(AWAY)
  const { done } = await app.topics.produce('a', ['x'])
  await app.close()
  t.match(await done, { reason: 'lost', error: { code: 'TOPICS_LOG_UNAVAILABLE' } })
})

t.test('a stop whose message was lost takes effect with the next renewal', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // Pending waits do not keep a process alive; a server does.
  await listen(app)
  const follow = log.follow.bind(log)
  log.follow = (topic, listener) => follow(topic, {
    onEntries: entries => { listener.onEntries(entries) },
    onClosed: () => { listener.onClosed() },
    onResync: () => { listener.onResync() },
    onStop () {}
  })
  const { done } = await app.topics.produce('a', new Tap().items(), { leaseMs: 3_000 })
  t.equal(await app.topics.stop('a'), true)
  t.same(await done, { reason: 'stopped' })
})

t.test('an end whose reason cannot be looked up is reported as closed', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  // Pending waits do not keep a process alive; a server does.
  await listen(app)
  const lease = log.lease.bind(log)
  const tap = new Tap()
  const { done } = await app.topics.produce('a', tap.items(), { batchMs: 0 })
  log.lease = (topic, request) => request.do === 'take' ? lease(topic, request) : Promise.reject(AWAY)
  await log.close('a')
  tap.push('late')
  t.same(await done, { reason: 'closed' })
})

t.test('a failed lookup of a lease is repeated', async t => {
  const log = new MemoryLog()
  const app = await buildApp(t, log)
  const lease = log.lease.bind(log)
  await log.lease('a', { do: 'take', holder: 'gone', leaseMs: 100, takeOver: false })
  let refused = 0
  log.lease = (topic, request) => request.do === 'look' && refused++ === 0
    ? Promise.reject(AWAY)
    : lease(topic, request)
  const { inbox } = await open(t, `${await listen(app)}/a`)
  t.match(await inbox.ended(), '{"topic":"a","reason":"lost"}')
})

// A failover may have lost it, and its producer with it: nobody closes the topic, and readers compare with the log.
t.test('a lease that is gone when it is looked up makes readers compare with the log', async t => {
  // Its clock stands still: the lease cannot expire before the log pretends that it is gone.
  const log = new MemoryLog({ now: () => 0 })
  const app = await buildApp(t, log)
  await log.lease('a', { do: 'take', holder: 'gone', leaseMs: 100, takeOver: false })
  const { inbox } = await open(t, `${await listen(app)}/a`)
  await inbox.until('stream.open')
  const [lease, locate] = [log.lease.bind(log), log.locate.bind(log)]
  const { ends } = await locate('a', ORIGIN)
  let compared = 0
  log.lease = async (topic, request) => ({
    ...await lease(topic, request), outcome: 'none', isClosed: false, reason: undefined
  })
  log.locate = async () => {
    compared++
    return { ends: { ...ends, leaseMs: undefined }, exists: false }
  }
  await until(() => compared > 0)
  t.notOk(inbox.text.includes('stream.end'))
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
