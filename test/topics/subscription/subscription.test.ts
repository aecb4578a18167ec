import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { injectSse } from '../../../plugin/testing/index.ts'
import type { InjectedEvent, InjectedStream } from '../../../plugin/testing/index.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { buildTopicsApp, publish } from '../../support/apps/topics-app.ts'

const data = (events: readonly InjectedEvent[]): string[] =>
  events.map(event => event.event === 'message' ? event.data : event.event)

async function connect (app: FastifyInstance, url: string, lastEventId?: string): Promise<InjectedStream> {
  return injectSse(app, { url, headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId } })
}

t.test('a new client starts now, and receives later events', async t => {
  const app = await buildTopicsApp(t)
  const [before] = await publish(app, 'a', 'before')
  const stream = await connect(app, '/events?topic=a')
  t.same(await stream.next(), [{ id: before, event: 'stream.open', data: '' }])
  const ids = await publish(app, 'a', 'one', 'two')
  t.same(await stream.next(2), [
    { id: ids[0], event: 'message', data: 'one' }, { id: ids[1], event: 'message', data: 'two' }
  ])
  stream.close()
})

t.test('H18 a client that reconnects receives exactly what it missed, from every position at which it can have disconnected', async t => {
  const app = await buildTopicsApp(t)
  const ids = await publish(app, 'a', '1', '2', '3', '4', '5')
  for (const [at, id] of ids.entries()) {
    const stream = await connect(app, '/events?topic=a', id)
    await publish(app, 'b', 'noise')
    const missed = ids.slice(at + 1)
    const events = await stream.next(1 + missed.length)
    t.same(events.slice(1).map(event => event.id), missed, `after ${id}`)
    t.equal(events[0]?.id, id, 'the first frame is its own cursor')
    stream.close()
  }
})

t.test('H25 a client that connected before the very first event loses none of them', async t => {
  const app = await buildTopicsApp(t)
  const first = await connect(app, '/events?topic=a')
  const [open] = await first.next()
  first.close()
  await publish(app, 'a', '1', '2')
  const second = await connect(app, '/events?topic=a', open!.id)
  t.same(data(await second.next(3)), ['stream.open', '1', '2'])
  second.close()
})

t.test('many topics are sent over one connection, each in order, and resume from one cursor', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'b', 'b1')
  const first = await connect(app, '/events?topic=b&topic=a&topic=c&topic=a')
  await first.next()
  await publish(app, 'a', 'a1')
  await publish(app, 'b', 'b2', 'b3')
  const seen = await first.next(3)
  t.same(data(seen), ['a1', 'b2', 'b3'])
  first.close()
  await publish(app, 'c', 'c1')
  await publish(app, 'a', 'a2')
  await publish(app, 'b', 'b4')
  for (const [at, rest] of [['a2', 'b2', 'b3', 'b4', 'c1'], ['a2', 'b3', 'b4', 'c1'], ['a2', 'b4', 'c1']].entries()) {
    const again = await connect(app, '/events?topic=c&topic=b&topic=a', seen[at]!.id)
    const events = await again.next(1 + rest.length)
    t.same(data(events).slice(1).sort(), rest, `after ${seen[at]!.data}`)
    t.same(data(events).filter(text => text.startsWith('b')), rest.filter(text => text.startsWith('b')), 'in order')
    again.close()
  }
})

t.test('topics may be added and removed between two connections', async t => {
  const app = await buildTopicsApp(t)
  const stream = await connect(app, '/events?topic=a&topic=b')
  const [open] = await stream.next()
  stream.close()
  await publish(app, 'a', 'a1')
  await publish(app, 'c', 'c1')
  const added = await connect(app, '/events?topic=a&topic=c', open!.id)
  t.same(data(await added.next(2)), ['stream.open', 'a1'], 'the removed one is ignored, the new one starts now')
  await publish(app, 'c', 'c2')
  const [c2] = await added.next()
  t.equal(c2!.data, 'c2')
  added.close()
  const dropped = await connect(app, '/events?topic=c', c2!.id)
  await publish(app, 'c', 'c3')
  t.same(data(await dropped.next(2)), ['stream.open', 'c3'], 'a cursor of two topics can be used for one')
  const [, c3] = dropped.events
  dropped.close()
  await publish(app, 'c', 'c4')
  const grown = await connect(app, '/events?topic=c&topic=a', c3!.id)
  t.same(data(await grown.next(2)), ['stream.open', 'c4'], 'a cursor of one topic can be used for two')
  grown.close()
})

t.test('an unreadable cursor is reported in band, never by a status', async t => {
  const app = await buildTopicsApp(t)
  const [first] = await publish(app, 'a', '1', '2')
  const position = first!.replace(/-1$/, '-0')
  for (const cursor of ['abc', '$', '+', '-', '0x1', '007-0', '1, 2', 'a, b', '-1-1', '1'.repeat(21) +
    '-1', 'AAAAAA01-1', 'a'.repeat(2000), '1-1,2-2', '💥']) {
    const stream = await connect(app, '/events?topic=a', cursor)
    const events = await stream.next(4)
    t.equal(stream.statusCode, 200)
    t.same(data(events), ['stream.open', 'stream.gap', '1', '2'], cursor)
    t.equal(events[0]?.id, undefined, 'the client keeps its own cursor until the gap is reported')
    t.same([events[1]?.id, JSON.parse(events[1]!.data)], [
      position, { topic: 'a', after: null, resumedAt: first, reason: 'unknown' }
    ])
    stream.close()
  }
})

t.test('H20 H21 a cursor of another topic, of a later time or of a forgotten topic is reported', async t => {
  const app = await buildTopicsApp(t)
  const ids = await publish(app, 'a', '1', '2')
  for (const [topic, cursor, reason] of [
    ['a', '1-1', 'expired'],
    ['a', ids[1]!.replace('-2', '-3'), 'unknown'],
    ['a', '9999999999999-9', 'unknown'],
    ['a', '5-7', 'expired'],
    ['empty', '5-5', 'expired']
  ] as const) {
    const stream = await connect(app, `/events?topic=${topic}`, cursor)
    const [, gap] = await stream.next(2)
    t.match(JSON.parse(gap!.data), { topic, reason, after: cursor }, cursor)
    stream.close()
  }
})

t.test('H24 trimmed events are reported with their number, and the stream continues from the earliest event', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 3 }] })
  const app = await buildTopicsApp(t, { log })
  const ids = await publish(app, 'a', '1', '2')
  await publish(app, 'a', '3', '4', '5', '6')
  const told = await connect(app, '/events?topic=a', ids[0])
  const [, gap, ...rest] = await told.next(5)
  t.match(JSON.parse(gap!.data), { reason: 'trimmed', missed: 2, after: ids[0] })
  t.same(data(rest), ['4', '5', '6'])
  told.close()
  const exact = await connect(app, '/events?topic=a', JSON.parse(gap!.data).resumedAt.replace(/-4$/, '-3'))
  t.same(
    data(await exact.next(4)),
    ['stream.open', '4', '5', '6'],
    'the position just before the first event has missed nothing'
  )
  exact.close()
  await app.topics.delete('a')
  const emptied = await connect(app, '/events?topic=a', rest[2]!.id)
  await publish(app, 'a', '7')
  t.same(data(await emptied.next(2)), ['stream.open', '7'], 'the last id of an emptied log has missed nothing')
  emptied.close()
})

t.test('after a gap the stream may continue from now', async t => {
  const app = await buildTopicsApp(t, { subscribe: { afterGap: 'now' } })
  await publish(app, 'a', '1', '2')
  const stream = await connect(app, '/events?topic=a', 'abc')
  const [, gap] = await stream.next(2)
  await publish(app, 'a', '3')
  t.equal(JSON.parse(gap!.data).resumedAt, null)
  t.same(data(await stream.next()), ['3'])
  stream.close()
})

t.test('several gaps on one connection are all reported before the cursor moves', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', 'a1')
  await publish(app, 'b', 'b1')
  const stream = await connect(app, '/events?topic=a&topic=b', 'nonsense')
  const [open, one, two, ...events] = await stream.next(5)
  t.same([open!.id, one!.id], [undefined, undefined])
  t.ok(two!.id)
  t.same([one, two].map(gap => JSON.parse(gap!.data).topic), ['a', 'b'])
  t.same(data(events).sort(), ['a1', 'b1'])
  stream.close()
})

t.test('last and since choose the start of a client without a cursor only', async t => {
  const app = await buildTopicsApp(t)
  const ids = await publish(app, 'a', '1', '2', '3')
  for (const [query, wanted] of [
    ['last=2', ['2', '3']], ['last=0', []], ['last=99', ['1', '2', '3']], ['sinceMs=60000', ['1', '2', '3']]
  ] as const) {
    const stream = await connect(app, `/events?topic=a&${query}`)
    t.same(data(await stream.next(1 + wanted.length)).slice(1), wanted, query)
    stream.close()
  }
  const resumed = await connect(app, '/events?topic=a&last=3', ids[1])
  t.same(data(await resumed.next(2)), ['stream.open', '3'])
  resumed.close()
  const queried = await connect(app, `/events?topic=a&after=${ids[0]}`)
  t.same(data(await queried.next(3)), ['stream.open', '2', '3'])
  queried.close()
  const both = await connect(app, `/events?topic=a&after=${ids[0]}`, ids[1])
  t.same(data(await both.next(2)), ['stream.open', '3'], 'the header has precedence')
  both.close()
})

t.test('the end of a topic is reported, the stream ends, and the next connection gets 204', async t => {
  const app = await buildTopicsApp(t)
  const live = await connect(app, '/events?topic=build')
  await publish(app, 'build', 'step')
  await app.topics.close('build')
  const events = await live.end()
  t.same(data(events), ['stream.open', 'step', 'stream.end'])
  t.same(JSON.parse(events[2]!.data), { topic: 'build', reason: 'closed' })
  const again = await connect(app, '/events?topic=build', events[2]!.id)
  t.equal(again.statusCode, 204)
  t.equal(again.headers['content-type'], undefined)
  const late = await connect(app, '/events?topic=build&last=5')
  t.same(data(await late.end()), ['stream.open', 'step', 'stream.end'], 'a late client reads it to the end first')
  const behind = await connect(app, '/events?topic=build', events[0]!.id)
  t.same(data(await behind.end()), ['stream.open', 'step', 'stream.end'])
})

t.test('with several topics each end is reported once, and the stream ends with the last one', async t => {
  const app = await buildTopicsApp(t)
  await app.topics.close('a')
  const stream = await connect(app, '/events?topic=a&topic=b')
  t.same(data(await stream.next(2)), ['stream.open', 'stream.end'])
  await publish(app, 'b', 'b1')
  await app.topics.close('b')
  const events = await stream.end()
  t.same(data(events), ['stream.open', 'stream.end', 'b1', 'stream.end'])
  const cursor = events.at(-1)!.id
  t.equal((await connect(app, '/events?topic=a&topic=b', cursor)).statusCode, 204)
})

t.test('a topic that is deleted and used again continues for connected clients', async t => {
  const app = await buildTopicsApp(t)
  const stream = await connect(app, '/events?topic=a')
  await publish(app, 'a', '1')
  await app.topics.delete('a')
  await publish(app, 'a', '2')
  t.same(data(await stream.next(3)), ['stream.open', '1', '2'])
  stream.close()
})

t.test('a topic reports where it starts, where it ends and how much it contains', async t => {
  const app = await buildTopicsApp(t)
  t.same(await app.topics.info('a'), {
    topic: 'a',
    first: null,
    last: null,
    count: 0,
    isClosed: false,
    reason: null,
    message: null,
    producer: null,
    subscribers: 0
  })
  const ids = await publish(app, 'a', '1', '2')
  await app.topics.close('a')
  t.same(await app.topics.info('a'), {
    topic: 'a',
    first: ids[0],
    last: ids[1],
    count: 2,
    isClosed: true,
    reason: 'closed',
    message: null,
    producer: null,
    subscribers: 0
  })
})

// Regression: answers of the log are shared for a moment. Events deleted in that moment were still sent to the next
// client, without a gap.
t.test('events that were just deleted are sent to nobody, and their loss is reported', async t => {
  const app = await buildTopicsApp(t)
  const [first] = await publish(app, 'a', '1', '2', '3')
  const before = await connect(app, '/events?topic=a', first)
  t.same(data(await before.next(3)), ['stream.open', '2', '3'])
  for (const isListening of [true, false]) {
    if (!isListening) before.close()
    await app.topics.delete('a')
    await publish(app, 'a', '4')
    const after = await connect(app, '/events?topic=a', first)
    t.same(data(await after.next(3)), ['stream.open', 'stream.gap', '4'])
    after.close()
  }
})

t.test('with an envelope each event contains its topic; id, name and retry are unchanged, and so are clients without an envelope', async t => {
  const app = await buildTopicsApp(t)
  app.get('/wrapped', (_request, reply) => reply.sse(app.topics.subscribe(['a', 'b'], { envelope: true, last: 1 })))
  const [a1] = await publish(app, 'a', '{"x":1}')
  const wrapped = await connect(app, '/wrapped')
  const plain = await connect(app, '/events?topic=a&topic=b&last=1')
  await wrapped.next(2)
  await plain.next(2)
  const { ids: [b1] } = await app.topics.publish('b', { event: 'score', data: 'two\nlines', retry: 5_000 })
  await wrapped.next()
  await plain.next()
  const [, first, second] = wrapped.events
  t.same(JSON.parse(first!.data), { topic: 'a', id: a1, event: 'message', data: '{"x":1}' })
  t.same(JSON.parse(second!.data), { topic: 'b', id: b1, event: 'score', data: 'two\nlines' })
  t.same(wrapped.events.map(({ id, event }) => [id, event]), plain.events.map(({ id, event }) => [id, event]))
  t.same(data(plain.events), ['stream.open', '{"x":1}', 'score'])
  t.equal(wrapped.retryMs, 5_000)
  const again = await connect(app, '/wrapped', first!.id)
  t.same(data(await again.next(2)), ['stream.open', 'score'], 'a cursor is the same with and without')
  await app.topics.close('a')
  t.same(
    JSON.parse((await wrapped.next())[0]!.data),
    { topic: 'a', reason: 'closed' },
    'events of the stream itself have no envelope'
  )
  for (const stream of [wrapped, plain, again]) stream.close()
})

// Regression: the response was the JSON of its fields, with status 200.
t.test('a subscription that a handler returns without reply.sse() is an error that says what to return', async t => {
  const app = await buildTopicsApp(t)
  app.get('/forgotten', () => app.topics.subscribe('a'))
  const response = await app.inject('/forgotten')
  t.match(response.json(), { statusCode: 500, code: 'TOPICS_NOT_STREAMED', message: /return reply\.sse\(/ })
})
