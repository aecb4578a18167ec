import t from 'tap'
import type { Test } from 'tap'
import { Grant } from '../../../plugin/auth/index.ts'
import { buildService, readConfig } from '../../../service/index.ts'
import { addAdmission } from '../../../plugin/reply/request/admission.ts'
import { StreamRegistry } from '../../../plugin/reply/stream/open-streams.ts'
import { StreamLimits } from '../../../service/streams/stream-limits.ts'
import { fakeStream } from '../../support/apps/fake-stream.ts'
import { listen as listenOn } from '../../support/apps/app.ts'
import type { SseStream } from '../../../plugin/index.ts'
import { connect, get, open, stall } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { metricsOf } from '../../support/service/metrics.ts'
import { call, TestService } from '../../support/service/service-app.ts'

const EVENTS = '/events?topic=news'
const NO_LIMITS = {
  maxStreams: 0, maxStreamsPerAddress: 0, maxStreamsPerSubject: 0, maxTopics: 1_000, heartbeatMs: 15_000
}
/** The response that an EventSource survives: an empty stream that says when to reconnect. */
const COME_BACK = /^:\nretry: 3000\nretry: \d+\n$/

async function listen (
  t: Test,
  { origin }: TestService,
  headers: Record<string, string> = {},
  path = EVENTS
): Promise<Opened> {
  const opened = await open(t, origin + path, { headers: { accept: 'text/event-stream', ...headers } })
  if (opened.statusCode === 200) await opened.inbox.until(text => text.includes('stream.open') || COME_BACK.test(text))
  return opened
}

const isOpen = ({ inbox }: Opened): boolean => inbox.text.includes('stream.open')

async function refusals ({ origin }: TestService, code: string): Promise<number | undefined> {
  return (await metricsOf(origin)).get(`sse_streams_refused_total{code="${code}"}`)
}

t.test('a stream beyond MAX_STREAMS is asked to retry later, and is accepted when another one has ended', async t => {
  const service = await TestService.start(t, { MAX_STREAMS: '2' })
  const [first] = [await listen(t, service), await listen(t, service)]
  const third = await listen(t, service)
  t.equal(third.statusCode, 200)
  t.match(await third.inbox.ended(), COME_BACK)
  const { status, json } = await service.call(EVENTS, { headers: { accept: '*/*' } })
  t.match({ status, json }, { status: 503, json: { statusCode: 503, code: 'SERVICE_TOO_MANY_STREAMS' } })
  t.equal(await refusals(service, 'SERVICE_TOO_MANY_STREAMS'), 2)
  t.equal((await metricsOf(service.origin)).get('sse_streams_open'), 2)
  t.equal((await service.publish('news', { data: 1 })).status, 201, 'publishing takes no place')
  first!.close()
  await until(async () => isOpen(await listen(t, service)))
})

t.test('each address is counted separately, and behind a trusted proxy it is the address that the proxy sends', async t => {
  const service = await TestService.start(t, { MAX_STREAMS_PER_ADDRESS: '1', TRUST_PROXY: '127.0.0.0/8' })
  const from = (address: string) => listen(t, service, { 'x-forwarded-for': address })
  t.ok(isOpen(await from('192.0.2.1')))
  t.ok(isOpen(await from('192.0.2.2')))
  t.notOk(isOpen(await from('192.0.2.1')))
  t.notOk(isOpen(await from('198.51.100.9, 192.0.2.2')), 'an address added by the client itself does not count')
  t.match((await service.call(EVENTS, { headers: { accept: '*/*', 'x-forwarded-for': '192.0.2.1' } })).json, {
    statusCode: 429, code: 'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS', message: /at most 1 \(MAX/
  })
  t.equal(await refusals(service, 'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS'), 3)
})

t.test('without TRUST_PROXY a client cannot choose its address', async t => {
  const service = await TestService.start(t, { MAX_STREAMS_PER_ADDRESS: '1' })
  t.ok(isOpen(await listen(t, service, { 'x-forwarded-for': '192.0.2.1' })))
  t.notOk(isOpen(await listen(t, service, { 'x-forwarded-for': '192.0.2.2' })))
})

/** A service that reads its clients' subjects from a header, and a function that subscribes as one of them. */
async function startForSubjects (
  t: Test,
  env: Record<string, string>
): Promise<{ origin: string, as: (subject: string, path?: string) => Promise<Opened> }> {
  const app = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', ...env }))
  t.teardown(() => app.close())
  app.addHook('onRequest', async request => {
    const { 'x-subject': subject } = request.headers
    if (typeof subject === 'string') addAdmission(request, { owner: new Grant({ subject }, 'bearer') })
  })
  const origin = await listenOn(app)
  return {
    origin,
    as: async (subject, path = EVENTS) => {
      const opened = await open(t, origin + path, {
        headers: { accept: 'text/event-stream', ...(subject === '' ? {} : { 'x-subject': subject }) }
      })
      await opened.inbox.until(text => text.includes('stream.open') || COME_BACK.test(text))
      return opened
    }
  }
}

const REPLACED = /\nretry: [3-6]\d{4}\n+$/

const closedAs = async (origin: string, reason: string): Promise<number | undefined> =>
  (await metricsOf(origin)).get(`sse_streams_closed_total{reason="${reason}"}`)

// Regression: a phone that changed networks was rejected for 15 minutes: its old stream was counted until the kernel
// gave up.
t.test('each subject is counted separately, whatever its addresses, and beyond its limit its newest stream replaces its oldest', async t => {
  const { origin, as } = await startForSubjects(t, { MAX_STREAMS_PER_SUBJECT: '2' })
  const streams = [
    await as('ann'), await as('bob'), await as('ann'), await as('ann'), await as(''), await as(''), await as('')
  ]
  t.same(streams.map(isOpen), [true, true, true, true, true, true, true])
  t.match(await streams[0]!.inbox.ended(), REPLACED)
  t.same(streams.map(({ inbox }) => inbox.isOver), [true, false, false, false, false, false, false])
  t.equal(await closedAs(origin, 'replaced'), 1)
  t.equal((await metricsOf(origin)).get('sse_streams_open'), 6)
})

t.test('of the streams of a subject one whose client reads nothing is replaced first', async t => {
  const { origin, as } = await startForSubjects(t, { MAX_STREAMS_PER_SUBJECT: '2' })
  const good = await as('ann')
  const vanished = await stall(t, origin, '/events?topic=hot', {
    headers: 'Accept: text/event-stream\r\nX-Subject: ann\r\n'
  })
  for (let at = 0; at < 40; at++) {
    const { status } = await call(`${origin}/topics/hot/events`, {
      method: 'POST', body: 'x'.repeat(200_000), type: 'text/plain'
    })
    t.equal(status, 201)
  }
  t.ok(isOpen(await as('ann')))
  t.notOk(good.inbox.isOver)
  t.equal(await closedAs(origin, 'replaced') ?? 0, 1)
  t.equal(vanished.inbox.bytes, 0)
})

t.test('an anonymous stream of an address is replaced after two heartbeats, and a stream only by one of the same subject', async t => {
  const { origin, as } = await startForSubjects(t, { MAX_STREAMS_PER_ADDRESS: '1', HEARTBEAT_MS: '1000' })
  const first = await as('')
  t.notOk(isOpen(await as('')), 'it is new')
  await first.inbox.until(text => text.split('\n:').length > 4)
  t.notOk(isOpen(await as('ann')), 'it is not hers')
  const second = await as('')
  t.ok(isOpen(second))
  t.match(await first.inbox.ended(), REPLACED)
  t.equal((await metricsOf(origin)).get('sse_streams_open'), 1)
})

t.test('an owner at both limits loses one stream if that is enough, otherwise one for each limit', async t => {
  const registry = new StreamRegistry()
  const limits = new StreamLimits(registry, {
    ...NO_LIMITS, maxStreamsPerAddress: 2, maxStreamsPerSubject: 2, heartbeatMs: 0
  })
  const replaced: string[] = []
  const take = (name: string, address: string): void => {
    const onClose = (stream: unknown, reason: string): void => { replaced.push(`${name} ${reason}`) }
    limits.take(fakeStream(registry, { owner: { subject: 'ann' }, onClose }), address)
  }
  take('a', '192.0.2.1')
  take('b', '192.0.2.1')
  take('c', '192.0.2.1')
  t.same(replaced, ['a replaced'])
  take('d', '192.0.2.2')
  t.same(replaced, ['a replaced', 'b replaced'])
  t.same(limits.counts, { streams: 2, addresses: 2 })
})

t.test('one subject follows no more than half of the topics that the process may follow, each counted once', async t => {
  const { origin, as } = await startForSubjects(t, { MAX_TOPICS: '8', MAX_STREAMS_PER_SUBJECT: '3' })
  const events = (...topics: string[]): string => `/events?${topics.map(topic => `topic=${topic}`).join('&')}`
  t.ok(isOpen(await as('ann', events('a', 'b', 'c'))))
  t.ok(isOpen(await as('ann', events('a', 'b', 'd'))), 'four different topics')
  t.notOk(isOpen(await as('ann', events('e'))))
  t.ok(isOpen(await as('bob', events('e', 'f', 'g', 'h'))), 'the other half is for other subjects')
  t.equal((await metricsOf(origin)).get('sse_streams_refused_total{code="SERVICE_TOO_MANY_TOPICS_OF_SUBJECT"}'), 1)
})

t.test('a stream of more topics than MAX_TOPICS_PER_STREAM is rejected permanently; one beyond MAX_TOPICS temporarily', async t => {
  const service = await TestService.start(t, { MAX_TOPICS_PER_STREAM: '2', MAX_TOPICS: '3' })
  t.equal((await listen(t, service, {}, '/events?topic=a&topic=b&topic=c')).statusCode, 400)
  t.match((await service.call('/events?topic=a&topic=b&topic=c')).json, {
    code: 'TOPICS_BAD_TOPIC_COUNT', message: 'a stream must have 1 to 2 topics, saw 3'
  })
  t.ok(isOpen(await listen(t, service, {}, '/events?topic=a&topic=b&topic=a')), 'a repeated topic counts once')
  t.ok(isOpen(await listen(t, service, {}, '/events?topic=b&topic=c')))
  t.match(await (await listen(t, service, {}, '/events?topic=a&topic=d')).inbox.ended(), COME_BACK)
  t.same([
    await refusals(service, 'TOPICS_BAD_TOPIC_COUNT'), await refusals(service, 'TOPICS_TOO_MANY_FOLLOWED')
  ], [2, 1])
})

const ROUNDS = 5

// A place that is not released is lost: after a day of such clients nobody could connect any more.
t.test('a place is released however a stream ends', async t => {
  const service = await TestService.start(t, {
    MAX_STREAMS: '2', MAX_STREAMS_PER_ADDRESS: '2', HEARTBEAT_MS: '20', MAX_EVENTS: '100'
  })
  const { id } = (await service.publish('closed', { data: 1 })).json as { id: string }
  await service.call('/topics/closed/close', { method: 'POST' })
  const subscribe = service.app.topics.subscribe
  const nothing = { ...subscribe('none'), topics: [] }
  const accept = { accept: '*/*' }
  const ways: Record<string, () => Promise<unknown>> = {
    'the client leaves': async () => (await listen(t, service)).close(),
    'the client is gone before its turn': async () => {
      const { socket, send } = await connect(t, service.origin)
      send(get(EVENTS))
      socket.resetAndDestroy()
    },
    'a pipelined request whose turn never comes': async () => {
      const { socket, send, inbox } = await connect(t, service.origin)
      send(get(EVENTS) + get(EVENTS))
      await inbox.until('stream.open')
      socket.destroy()
    },
    HEAD: () => service.call(EVENTS, { method: 'HEAD' }),
    406: () => service.call(EVENTS, { headers: { accept: 'text/html' } }),
    204: async () => {
      t.equal((await service.call('/events?topic=closed', { headers: { 'last-event-id': id } })).status, 204)
    },
    'the topic ends': async () => (await listen(t, service, {}, '/events?topic=closed')).inbox.ended(),
    'the source fails before the first byte': async () => {
      service.app.topics.subscribe = () => ({ ...nothing, open: async () => { throw new Error('a bug') } })
      t.equal((await service.call(EVENTS, { headers: accept })).status, 500)
    },
    'the source is away': async () => {
      service.app.topics.subscribe = () => ({
        ...nothing,
        open: async () => {
          throw Object.assign(new Error('away'), { statusCode: 503, code: 'TOPICS_LOG_UNAVAILABLE' })
        }
      })
      await (await listen(t, service)).inbox.ended()
    },
    'the source fails behind the first byte': async () => {
      service.app.topics.subscribe = () => ({
        ...nothing,
        open: async () => () => new Promise((resolve, reject) => { setTimeout(reject, 5, new Error('a bug')) })
      })
      t.match(await (await open(t, service.origin + EVENTS)).inbox.ended(), 'stream.error')
    },
    'the client takes nothing': async () => {
      const { inbox } = await stall(t, service.origin, '/events?topic=hot')
      const isGone = async (): Promise<boolean> =>
        ((await metricsOf(service.origin)).get('sse_streams_closed_total{reason="slow"}') ?? 0) > 0
      while (!await isGone()) await service.publish('hot', 'x'.repeat(200_000), { type: 'text/plain' })
      t.equal(inbox.bytes, 0)
    }
  }
  for (const [way, go] of Object.entries(ways)) {
    for (let round = 0; round < (way === 'the client takes nothing' ? 1 : ROUNDS); round++) await go()
    service.app.topics.subscribe = subscribe
    const both: Opened[] = []
    await until(async () => {
      for (const opened of both.splice(0)) opened.close()
      both.push(await listen(t, service), await listen(t, service))
      return both.every(isOpen)
    })
    t.pass(way)
    for (const opened of both) opened.close()
  }
  await until(async () => (await metricsOf(service.origin)).get('sse_streams_open') === 0)
  t.equal((await metricsOf(service.origin)).get('sse_topics_followed'), 0)
})

t.test('owners without streams are not kept, and IPv6 addresses are counted by /64', async t => {
  const registry = new StreamRegistry()
  const limits = new StreamLimits(registry, { ...NO_LIMITS, maxStreamsPerAddress: 1, heartbeatMs: 1_000_000 })
  const take = (address: string, subject: string | undefined): SseStream => {
    const stream = fakeStream(registry, { owner: subject === undefined ? undefined : { subject } })
    limits.take(stream, address)
    return stream
  }
  const streams = [take('2001:db8::1', 'ann'), take('192.0.2.1', undefined)]
  t.same(limits.counts, { streams: 2, addresses: 2 })
  t.throws(() => take('2001:db8:0:0:9::1', undefined), { code: 'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS', statusCode: 429 })
  t.same(limits.counts, { streams: 2, addresses: 2 }, 'a rejected owner takes no place')
  fakeStream(registry).close('client')
  t.same(limits.counts, { streams: 2, addresses: 2 }, 'nor does one that was never admitted, and no place is released for it')
  for (const stream of streams) stream.close('client')
  t.same(limits.counts, { streams: 0, addresses: 0 })
  t.equal(registry.ofSubject('ann').size, 0)
})

// With a million streams of one owner, a new stream must not scan all of them.
t.test('the cost of a new stream does not grow with the number of streams of its owner', async t => {
  const looked: number[] = []
  for (const streams of [200, 5_000]) {
    const registry = new StreamRegistry()
    const limits = new StreamLimits(registry, { ...NO_LIMITS, maxStreamsPerSubject: streams })
    let looks = 0
    for (let at = 0; at <= streams; at++) {
      limits.take(fakeStream(registry, { owner: { subject: 'ann' }, onLook: () => { looks++ } }), '192.0.2.1')
    }
    looked.push(looks)
  }
  t.same(looked, [100, 100])
})

// Regression: 20,000 streams of one subject (a server that subscribes for its users) cost 200,000,000 steps when they
// reconnected.
t.test('a new stream does not look at the topics of the other streams of its subject', async t => {
  const registry = new StreamRegistry()
  const limits = new StreamLimits(registry, { ...NO_LIMITS, maxStreamsPerSubject: 2, maxTopics: 8 })
  const takeAll = (topics: readonly string[]): SseStream => {
    const stream = fakeStream(registry, { owner: { subject: 'ann' }, topics })
    try {
      limits.take(stream, '192.0.2.1')
    } catch (error) {
      stream.close('error')
      throw error
    }
    return stream
  }
  const take = (...topics: string[]): SseStream => takeAll(topics)
  const looks = { count: 0 }
  const looked = new Proxy(['a', 'b'], {
    get: (topics, name) => { looks.count++; return Reflect.get(topics, name) as unknown }
  })
  takeAll(looked)
  looks.count = 0
  const second = take('b', 'c', 'd')
  t.equal(looks.count, 0, 'the topics of another stream are not looked at')
  t.throws(() => take('a', 'b', 'e', 'f', 'g'), {
    code: 'SERVICE_TOO_MANY_TOPICS_OF_SUBJECT'
  }, 'a is replaced and added again, b stays')
  second.close('client')
  t.doesNotThrow(() => take('c', 'd'), 'a and b are followed by the first stream')
  t.doesNotThrow(() => take('e', 'f'), 'the first stream is replaced')
})
