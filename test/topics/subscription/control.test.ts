import { once } from 'node:events'
import Fastify from 'fastify'
import type { FastifyError, FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import topics, { MemoryLog, topicsErrors } from '../../../plugin/topics/index.ts'
import type { EventId, SubscribeOptions, TopicLog, TopicListener } from '../../../plugin/topics/index.ts'
import { injectSse } from '../../../plugin/testing/index.ts'
import { listen } from '../../support/apps/app.ts'
import { open } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import type { Inbox } from '../../support/clients/inbox.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'

interface Answer {
  status: number
  inbox: Inbox
  /** The complete text when the response is over; `isWhole` is false if it was aborted. */
  over: () => Promise<{ text: string, isWhole: boolean }>
  close: () => void
}

interface Site { app: FastifyInstance, ask: (topic: string, headers?: Record<string, string>) => Promise<Answer> }

type Start = (t: Test, options?: SubscribeOptions, log?: TopicLog) => Promise<Site>

async function register (app: FastifyInstance, log: TopicLog, options: SubscribeOptions): Promise<void> {
  await app.register(sse, { drainMs: 500, retryMs: false })
  await app.register(topics, { log })
  app.get<{ Params: { topics: string } }>('/:topics', (request, reply) =>
    reply.sse(app.topics.subscribe(request.params.topics.split(','), { control: 'none', after: '0-0', ...options }))
  )
}

const STARTS: Record<string, Start> = {
  async 'HTTP/1.1' (t, options = {}, log = new MemoryLog()) {
    const app = Fastify()
    t.teardown(() => app.close())
    await register(app, log, options)
    const origin = await listen(app)
    return {
      app,
      async ask (topic, headers = {}) {
        const { statusCode, inbox, response, close } = await open(t, `${origin}/${topic}`, { headers })
        return {
          status: statusCode,
          inbox,
          close,
          over: async () => ({ text: await inbox.ended(), isWhole: response.complete })
        }
      }
    }
  },
  async 'HTTP/2' (t, options = {}, log = new MemoryLog()) {
    const { key, cert } = makeCertificate()
    const app = Fastify({ http2: true, https: { key, cert } }) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await register(app, log, options)
    const session = await openSession(t, await listen(app), { ca: cert })
    return {
      app,
      async ask (topic, headers = {}) {
        const { headers: { ':status': status = 0 }, inbox, stream } = await openHttp2(session, `/${topic}`, { headers })
        return {
          status,
          inbox,
          close: () => { stream.close() },
          over: async () => ({ text: await inbox.ended(), isWhole: stream.rstCode === 0 })
        }
      }
    }
  }
}

/** The fields of events, without comments. */
const fields = (text: string): string[] => text.split('\n').filter(line => line !== '' && !line.startsWith(':'))
const data = (text: string): string[] => fields(text).filter(line => !line.startsWith('id: '))
const idsOf = (text: string): string[] => fields(text).flatMap(line => line.startsWith('id: ') ? [line.slice(4)] : [])
const tell = (app: FastifyInstance, topic: string, ...all: string[]) =>
  app.topics.publish(topic, all.map(data => ({ data })))

async function * items (...all: string[]): AsyncGenerator<string> { yield * all }

const untilBreak = new Error('the model broke')
async function * failing (): AsyncGenerator<string> {
  yield 'a'
  throw untilBreak
}

for (const [version, start] of Object.entries(STARTS)) {
  t.test(version, async t => {
    t.test('the body contains the bytes of the events and nothing else, also while they arrive', async t => {
      const { app, ask } = await start(t, { final: { data: '[DONE]' } })
      const gate = new AbortController()
      const producer = await app.topics.produce('chat', async function * () {
        yield { event: 'token', data: 'a' }
        await once(gate.signal, 'abort')
        yield 'b'
      })
      const early = await ask('chat')
      await early.inbox.until('data: a')
      gate.abort()
      t.equal((await producer.done).reason, 'done')
      const { text, isWhole } = await early.over()
      t.same(data(text), ['event: token', 'data: a', 'data: b', 'data: [DONE]'])
      t.ok(isWhole)
      t.equal(idsOf(text).length, 2, 'the final event has no id')
      const late = await (await ask('chat')).over()
      t.same(late, { text, isWhole: true }, 'the same later')
    })

    t.test('a client that reconnects with its cursor receives the rest, and 204 when there is none', async t => {
      const { app, ask } = await start(t, { final: { event: 'last', data: { ok: true } } })
      await (await app.topics.produce('chat', items('a', 'b', 'c'))).done
      const [a, , c] = idsOf((await (await ask('chat')).over()).text)
      const rest = await (await ask('chat', { 'last-event-id': a! })).over()
      t.same(data(rest.text), ['data: b', 'data: c', 'event: last', 'data: {"ok":true}'])
      const none = await ask('chat', { 'last-event-id': c! })
      t.equal(none.status, 204)
      t.same(await none.over(), { text: '', isWhole: true })
    })

    t.test('a topic without events and without a producer is 204; the response waits for one with a producer', async t => {
      const { app, ask } = await start(t)
      t.equal((await ask('nothing')).status, 204)
      const gate = new AbortController()
      await app.topics.produce('chat', async function * () {
        await once(gate.signal, 'abort')
        yield 'a'
      })
      const early = await ask('chat')
      t.equal(early.status, 200)
      gate.abort()
      t.same(data((await early.over()).text), ['data: a'])
      await app.topics.delete('chat')
      t.equal((await ask('chat')).status, 410, 'from the start, which is deleted')
      const { last } = await app.topics.info('chat')
      t.equal((await ask('chat', { 'last-event-id': last! })).status, 204, 'from the end')
    })

    t.test('an incomplete answer is broken off after its last event', async t => {
      const { app, ask } = await start(t, { final: { data: '[DONE]' } })
      const producer = await app.topics.produce('chat', failing())
      const early = await ask('chat')
      t.equal((await producer.done).reason, 'failed')
      for (const answer of [early, await ask('chat')]) {
        const { text, isWhole } = await answer.over()
        t.same(data(text), ['data: a'])
        t.notOk(isWhole)
      }
    })

    t.test('the answer of a producer that died is broken off too', async t => {
      const log = new MemoryLog()
      const { ask } = await start(t, {}, log)
      const { fence } = await log.lease('chat', { do: 'take', holder: 'dead', leaseMs: 1_000, takeOver: false })
      await log.append('chat', [{ event: undefined, data: 'a', retry: undefined }], { lease: { fence, accepted: 0 } })
      const { text, isWhole } = await (await ask('chat')).over()
      t.same(data(text), ['data: a'])
      t.notOk(isWhole)
      t.equal((await ask('chat', { 'last-event-id': idsOf(text)[0]! })).status, 204, 'nothing follows')
    })

    t.test('a topic that was stopped or closed ends the response, without the final event', async t => {
      const { app, ask } = await start(t, { final: { data: '[DONE]' } })
      const producer = await app.topics.produce('stopped', async function * ({ signal }) {
        yield 'a'
        await once(signal, 'abort')
      })
      const early = await ask('stopped')
      await early.inbox.until('data: a')
      await app.topics.stop('stopped')
      await producer.done
      await tell(app, 'closed', 'a')
      await app.topics.close('closed')
      for (const answer of [early, await ask('stopped'), await ask('closed')]) {
        t.match(await answer.over(), { text: /data: a\n\n$/, isWhole: true })
      }
    })

    t.test('a large answer is sent completely before it is broken off', async t => {
      const { app, ask } = await start(t)
      const large = Array.from({ length: 60 }, (_, at) => `${at} ${'x'.repeat(50_000)}`)
      await (await app.topics.produce('chat', async function * () {
        yield * large
        throw untilBreak
      })).done
      const { text, isWhole } = await (await ask('chat')).over()
      t.same(data(text), large.map(text => `data: ${text}`))
      t.notOk(isWhole)
    })

    t.test('a gap at the start is 410, also for a client that accepts text/event-stream', async t => {
      const { app, ask } = await start(t, {}, new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] }))
      await tell(app, 'chat', 'a', 'b', 'c')
      for (const cursor of ['', 'nonsense']) {
        const answer = await ask('chat', { accept: 'text/event-stream', 'last-event-id': cursor })
        t.equal(answer.status, 410)
        t.match(JSON.parse((await answer.over()).text), {
          statusCode: 410,
          code: 'TOPICS_GAP',
          message: cursor === '' ? /"chat" are missing.*\(trimmed\)/ : /\(unknown\)/
        })
      }
    })

    t.test('a gap that occurs while the stream opens is 410 too', async t => {
      const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] })
      const { app, ask } = await start(t, {}, log)
      await tell(app, 'chat', 'a', 'b')
      const read = log.read.bind(log)
      log.read = async (...args) => {
        log.read = read
        await tell(app, 'chat', 'c')
        return read(...args)
      }
      t.equal((await ask('chat')).status, 410)
    })

    t.test('a later gap breaks the response off, after the events before it', async t => {
      const log = new LeakyLog()
      const { app, ask } = await start(t, {}, log)
      await tell(app, 'chat', 'a')
      const answer = await ask('chat')
      await answer.inbox.until('data: a')
      log.loseNext('chat')
      const { text, isWhole } = await answer.over()
      t.same(data(text), ['data: a'])
      t.notOk(isWhole)
    })

    t.test('a stream that ends for another reason is broken off', async t => {
      const stopping = new AbortController()
      const { app, ask } = await start(t, { signal: stopping.signal })
      await tell(app, 'chat', 'a')
      const answer = await ask('chat')
      await answer.inbox.until('data: a')
      stopping.abort()
      t.notOk((await answer.over()).isWhole, 'the signal of the subscription')
    })

    t.test('a shutdown breaks the response off', async t => {
      const { app, ask } = await start(t)
      await tell(app, 'chat', 'a')
      const answer = await ask('chat')
      await answer.inbox.until('data: a')
      const closed = app.close()
      t.notOk((await answer.over()).isWhole)
      await closed
    })

    t.test('with several topics the response ends as all of them do', async t => {
      const { app, ask } = await start(t, { after: undefined, last: 10, final: { data: '[DONE]' } })
      await (await app.topics.produce('a', items('a'))).done
      await (await app.topics.produce('b', items('b'))).done
      await tell(app, 'c', 'c')
      await app.topics.close('c')
      await (await app.topics.produce('d', failing())).done
      t.match(await (await ask('a,b')).over(), { text: /data: b\n\ndata: \[DONE\]\n\n$/, isWhole: true })
      t.match(await (await ask('a,c')).over(), { text: /data: c\n\n$/, isWhole: true })
      t.equal((await (await ask('a,d')).over()).isWhole, false)
      t.equal((await ask('none,nothing')).status, 204)
    })
  })
}

/** A log that loses entries as Redis does in a failover: acknowledged events are gone, and numbers are skipped. */
class LeakyLog extends MemoryLog {
  readonly #listeners = new Map<string, TopicListener>()
  #lost: EventId | undefined

  override async follow (name: string, listener: TopicListener) {
    this.#listeners.set(name, listener)
    return super.follow(name, listener)
  }

  /** The next comparison finds that the position of the followers does not belong to this log. */
  loseNext (name: string): void {
    const listener = this.#listeners.get(name)!
    this.#lost = { ms: 0, n: 0 }
    listener.onResync()
  }

  override async locate (name: string, id: EventId) {
    const found = await super.locate(name, id)
    if (!this.#lost || id.n === 0) return found
    this.#lost = undefined
    const last = { ms: found.ends.last.ms, n: found.ends.last.n + 5 }
    return {
      exists: false, ends: { ...found.ends, last, first: last, skips: [{ from: { ms: id.ms, n: 0 }, to: last.n }] }
    }
  }
}

t.test('a stream in a test without a socket is broken off too', async t => {
  const { app } = await STARTS['HTTP/1.1']!(t)
  await (await app.topics.produce('chat', failing())).done
  const stream = await injectSse(app, '/chat', { timeoutMs: 10_000 })
  t.match(await stream.next(), [{ data: 'a' }])
  t.same((await stream.end()).map(({ data }) => data), ['a'])
})

t.test('a stream that has ended is not ended again, in any way', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', (request, reply) => {
    const stream = reply.sse()
    stream.end({ data: 'last' })
    stream.breakOff()
    stream.endWith({ bytes: Buffer.from('data: more\n\n'), events: 1 })
    return reply
  })
  const { inbox, response } = await open(t, await listen(app))
  t.same(data(await inbox.ended()).slice(-1), ['data: last'])
  t.ok(response.complete)
})

t.test('a loop receives its gaps and ends, whatever the option control is', async t => {
  const { app } = await STARTS['HTTP/1.1']!(t)
  await (await app.topics.produce('chat', items('a'))).done
  const kinds: string[] = []
  for await (const { kind } of app.topics.subscribe('chat', { control: 'none', after: '0-0' })) kinds.push(kind)
  t.same(kinds, ['event', 'end'])
})

t.test('a client that is rejected temporarily gets the status, also one that accepts text/event-stream', async t => {
  const log = new MemoryLog()
  const { ask } = await STARTS['HTTP/1.1']!(t, {}, log)
  log.locate = async () => { throw new topicsErrors.TOPICS_LOG_UNAVAILABLE('a test') }
  t.equal((await ask('chat', { accept: 'text/event-stream' })).status, 503)
})

t.test('invalid combinations of options are rejected', async t => {
  const { app } = await STARTS['HTTP/1.1']!(t)
  const bad: Array<[SubscribeOptions, string]> = [
    [{ control: 'off' as 'none' }, '"control" must be "in-band" or "none", saw "off"'],
    [{ control: 'none', envelope: true }, '"envelope" must be given without control "none", saw both'],
    [{ final: { data: 'x' } }, '"final" must be given together with control "none"'],
    [{ control: 'none', final: { data: undefined } }, 'event "final": field "data" is missing'],
    [{ control: 'none', final: { event: 'a\nb', data: '' } }, 'event "final": '],
    [{ startingAfter: -1 }, '"startingAfter" must be an integer from 0 to 9007199254740991, saw -1'],
    [{ startingAfter: 1, last: 1 }, '"startingAfter" must be given without "last", saw both'],
    [{ startingAfter: 1, sinceMs: 1 }, '"startingAfter" must be given without "since", saw both'],
    [{ startingAfter: 1, after: '0-0' }, '"startingAfter" must be given without "after", saw both']
  ]
  for (const [options, message] of bad) {
    const error = t.throws(() => app.topics.subscribe('a', options)) as FastifyError
    t.equal(error.statusCode, 400)
    t.ok(error.message.startsWith(message), error.message)
  }
  t.throws(() => app.topics.subscribe(['a', 'b'], { startingAfter: 1 }), {
    statusCode: 400, message: '"startingAfter" must be given for a single topic, saw 2 topics'
  })
})

t.test('startingAfter starts after the event with that number', async t => {
  const { app, ask } = await STARTS['HTTP/1.1']!(t, { after: undefined, startingAfter: 2 })
  await (await app.topics.produce('chat', items('a', 'b', 'c', 'd'))).done
  const { text } = await (await ask('chat')).over()
  t.same(data(text), ['data: c', 'data: d'])
  t.same(data((await (await ask('chat', { 'last-event-id': idsOf(text)[0]! })).over()).text), [
    'data: d'
  ], 'the header has precedence')
  await (await app.topics.produce('short', items('a', 'b'))).done
  t.equal((await ask('short')).status, 204, 'no event follows it')
  await tell(app, 'shorter', 'a')
  t.equal((await ask('shorter')).status, 410, 'a number that does not exist yet')
  t.equal((await ask('empty')).status, 410, 'nor does any number of a topic that was never published to')
})

t.test('startingAfter over control events: from before the first, after trimmed events, and 204 at the end', async t => {
  const log = new MemoryLog({ retention: [{ topics: 'small', maxEvents: 2 }, { topics: '*', maxEvents: 100 }] })
  const kinds = async (app: FastifyInstance, topic: string, startingAfter: number): Promise<string[]> => {
    const found: string[] = []
    for await (const item of app.topics.subscribe(topic, { startingAfter })) {
      found.push(item.kind === 'event' ? item.data : item.kind)
    }
    return found
  }
  const { app } = await STARTS['HTTP/1.1']!(t, {}, log)
  for (const topic of ['small', 'large']) await (await app.topics.produce(topic, items('a', 'b', 'c', 'd'))).done
  t.same(await kinds(app, 'large', 0), ['a', 'b', 'c', 'd', 'end'])
  t.same(await kinds(app, 'large', 3), ['d', 'end'])
  t.same(await kinds(app, 'large', 4), [])
  t.same(await kinds(app, 'small', 2), ['c', 'd', 'end'], 'the position just before the first event')
  t.same(await kinds(app, 'small', 1), ['gap', 'c', 'd', 'end'])
  t.same(await kinds(app, 'large', 9), ['gap', 'a', 'b', 'c', 'd', 'end'])
})

t.test('startingAfter finds its event while others arrive, and gives up on a log that contradicts itself', async t => {
  const log = new MemoryLog()
  const { app } = await STARTS['HTTP/1.1']!(t, {}, log)
  await tell(app, 'a', '1')
  const now = Date.now()
  await until(() => Date.now() > now)
  await tell(app, 'a', '2', '3')
  const seek = log.seek.bind(log)
  let arriving = 2
  log.seek = async (...args) => {
    if (arriving-- > 0) await tell(app, 'a', 'later')
    return seek(...args)
  }
  const first = async () => (await app.topics.subscribe('a', { startingAfter: 2 })[Symbol.asyncIterator]().next()).value
  t.match(await first(), { kind: 'event', data: '3' })
  log.seek = async () => ({ ms: 1, n: 1 })
  t.match(await first(), { kind: 'gap', reason: 'unknown' })
})
