import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import { errors } from '../../plugin/topics/errors.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { SubscriptionItem, TopicSubscription } from '../../plugin/topics/index.ts'
import { until } from '../support/until.ts'
import { logs } from '../support/logs.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

/** The next items of a loop. */
async function take (loop: AsyncIterator<SubscriptionItem, undefined>, count: number): Promise<SubscriptionItem[]> {
  const items: SubscriptionItem[] = []
  while (items.length < count) {
    const { done, value } = await loop.next()
    if (done) throw new Error(`the loop ended after ${JSON.stringify(items)}`)
    items.push(value)
  }
  return items
}

/** All items until the end of the loop. */
async function takeAll (subscription: TopicSubscription): Promise<SubscriptionItem[]> {
  const items: SubscriptionItem[] = []
  for await (const item of subscription) items.push(item)
  return items
}

/** The data of events, and the kinds of other items. */
function dataOf (items: readonly SubscriptionItem[]): string[] {
  return items.map(item => item.kind === 'event' ? item.data : item.kind)
}

function begin (subscription: TopicSubscription): AsyncIterator<SubscriptionItem, undefined> {
  return subscription[Symbol.asyncIterator]()
}

/** Settles when a loop without a cursor has found its position. */
async function begun (app: FastifyInstance, topic: string): Promise<void> {
  await until(async () => (await app.topics.info(topic)).subscribers > 0)
}

/** Settles when nothing in this process follows a topic any more. */
async function released (app: FastifyInstance): Promise<void> {
  await until(() => app.topics.counts.topics === 0 && app.topics.counts.feeds === 0)
}

for (const [name, makeLog] of Object.entries(logs)) {
  t.test(`${name}: a loop yields history and events published meanwhile, then the ends`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t) })
    const [first] = (await app.topics.publish('a', { event: 'x', data: { text: 'a\nb\u2028' }, retry: 5 })).ids
    const all = takeAll(app.topics.subscribe(['b', 'a'], { last: 10 }))
    await begun(app, 'b')
    const [second] = await publish(app, 'b', 'plain')
    await app.topics.close('a')
    await app.topics.close('b')
    const items = await all
    const of = (topic: string): SubscriptionItem[] => items.filter(item => item.topic === topic)
    const event = { kind: 'event', topic: 'a', id: first, event: 'x', data: '{"text":"a\\nb\u2028"}', retry: 5 }
    t.match(of('a'), [event, { kind: 'end', topic: 'a', reason: 'closed' }])
    t.match(of('b'), [{ kind: 'event', topic: 'b', id: second, data: 'plain' }, { kind: 'end', topic: 'b' }])
    t.notOk('event' in of('b')[0]! || 'retry' in of('b')[0]!, 'only published events')
    const rest = await takeAll(app.topics.subscribe(['a', 'b'], { after: items.at(-1)!.cursor }))
    t.same(rest, [], 'nothing remains after the last cursor')
    await released(app)
  })

  t.test(`${name}: a loop continues after the cursor of any item`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t) })
    for (const text of ['1', '2', '3']) for (const topic of ['a', 'b']) await publish(app, topic, topic + text)
    const whole = begin(app.topics.subscribe(['a', 'b'], { last: 10 }))
    const items = await take(whole, 6)
    await whole.return?.()
    for (const [at, { cursor }] of items.entries()) {
      const rest = begin(app.topics.subscribe(['a', 'b'], { after: cursor }))
      t.same(dataOf(await take(rest, 5 - at)).sort(), dataOf(items.slice(at + 1)).sort(), cursor)
      await rest.return?.()
    }
    await released(app)
  })

  t.test(`${name}: a loop yields the gaps that a stream reports`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t, [{ topics: '*', maxEvents: 5 }]) })
    const ids: string[] = []
    for (let at = 0; at < 10; at++) ids.push(...await publish(app, 'a', `e${at}`))
    const { count } = await app.topics.info('a')
    for (const cursor of [ids[0]!, ids[3]!, '0-0', 'nonsense', '9999999999999-500']) {
      const stream = await injectSse(app, { url: '/events?topic=a', headers: { 'last-event-id': cursor } })
      const [, gap, ...events] = await stream.next(2 + count)
      stream.close()
      const loop = begin(app.topics.subscribe('a', { after: cursor }))
      const [item, ...rest] = await take(loop, 1 + count)
      await loop.return?.()
      t.same(item, { kind: 'gap', cursor: gap!.id, ...JSON.parse(gap!.data) }, cursor)
      t.same(rest.map(each => [each.cursor, dataOf([each])[0]]), events.map(({ id, data }) => [id, data]), cursor)
    }
  })
}

t.test('of several gaps only the last has a new cursor, so that a loop that stops between them receives them again', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', '1')
  await publish(app, 'b', '1')
  const loop = begin(app.topics.subscribe(['a', 'b'], { after: ['', 'nonsense'] }))
  const items = await take(loop, 4)
  t.same(dataOf(items), ['gap', 'gap', '1', '1'])
  t.equal(items[0]!.cursor, 'nonsense')
  t.match(items[1]!.cursor, /,/)
  await loop.return?.()
})

t.test('a slow loop holds a bounded number of bytes, delays no other client, and misses nothing', async t => {
  const log = new MemoryLog()
  const read = log.read.bind(log)
  let entriesRead = 0
  log.read = async (...args) => {
    const entries = await read(...args)
    entriesRead += entries.length
    return entries
  }
  const app = await buildTopicsApp(t, { log, topics: { maxTailBytes: 100_000 } })
  const loop = begin(app.topics.subscribe('a'))
  const slow = loop.next()
  await begun(app, 'a')
  const expected = Array.from({ length: 500 }, (_, at) => `${at} ${'x'.repeat(10_000)}`)
  const others = begin(app.topics.subscribe('a', { after: '0-0' }))
  for (const data of expected) {
    await publish(app, 'a', data)
    t.equal(dataOf(await take(others, 1))[0], data)
  }
  await others.return?.()
  t.equal(app.topics.counts.lagging, 1, 'the reader waits with its cursor')
  entriesRead = 0
  const items = [(await slow).value!, ...await take(loop, expected.length - 1)]
  t.same(dataOf(items), expected)
  t.ok(entriesRead > 450, `${entriesRead} of 500 events were not kept for the loop, but read from the log again`)
  await loop.return?.()
  await released(app)
})

t.test('a gap is an item of its own if a slow loop can no longer receive events', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 5 }] })
  const app = await buildTopicsApp(t, { log, topics: { maxTailBytes: 1 } })
  const loop = begin(app.topics.subscribe('a'))
  const first = loop.next()
  await begun(app, 'a')
  for (let at = 0; at < 50; at++) {
    await publish(app, 'a', `${at} ${'x'.repeat(10_000)}`)
    if (at === 0) await first
  }
  const items = [(await first).value!]
  while (!dataOf(items).at(-1)!.startsWith('49')) items.push(...await take(loop, 1))
  await loop.return?.()
  const gap = items.find(item => item.kind === 'gap')
  t.match(gap, { kind: 'gap', reason: 'trimmed', topic: 'a' })
  t.equal(items.filter(item => item.kind === 'event').length + gap!.missed!, 50)
})

t.test('break, return() and abort release everything, also while the loop waits', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', '1', '2')
  // eslint-disable-next-line no-unreachable-loop -- leaving it is what is looked at
  for await (const item of app.topics.subscribe('a', { last: 2 })) {
    t.equal(dataOf([item])[0], '1')
    break
  }
  await released(app)

  const waiting = begin(app.topics.subscribe('a'))
  const next = waiting.next()
  await begun(app, 'a')
  t.same(await waiting.return?.(), { done: true, value: undefined })
  t.same([await next, await waiting.next()], [{ done: true, value: undefined }, { done: true, value: undefined }])
  await released(app)

  const abort = new AbortController()
  const subscription = app.topics.subscribe('a', { last: 2, signal: abort.signal })
  const seen: string[] = []
  for await (const item of subscription) {
    seen.push(...dataOf([item]))
    abort.abort()
  }
  t.same(seen, ['1'], 'pending items are dropped')
  t.same(await takeAll(subscription), [], 'a loop that starts later ends at once')
  await released(app)
  const never = begin(app.topics.subscribe('a'))
  await never.return?.()
  t.same([await never.next(), app.topics.counts.feeds], [{ done: true, value: undefined }, 0])
})

t.test('the signal of a subscription also ends its streams', async t => {
  const abort = new AbortController()
  const app = await buildTopicsApp(t, { subscribe: { signal: abort.signal } })
  const stream = await injectSse(app, '/events?topic=a')
  await stream.next()
  const left = await injectSse(app, '/events?topic=a')
  left.close()
  await left.end()
  abort.abort()
  t.same((await stream.end()).length, 1)
  t.same((await (await injectSse(app, '/events?topic=a')).end()).length, 0, 'and those that start later')
  await released(app)
})

t.test('several loops may iterate over one subscription, and each next() returns a separate item', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', '1', '2', '3')
  const subscription = app.topics.subscribe('a', { last: 3 })
  const [one, other] = [begin(subscription), begin(subscription)]
  const results = await Promise.all([one.next(), one.next(), one.next(), other.next()])
  t.same(dataOf(results.map(({ value }) => value!)), ['1', '2', '3', '1'])
  await one.return?.()
  t.same(dataOf(await take(other, 2)), ['2', '3'])
  await other.return?.()
})

t.test('the loops of an app end when it closes, including those that start then', async t => {
  const app = await buildTopicsApp(t)
  const all = takeAll(app.topics.subscribe('a'))
  await begun(app, 'a')
  const late = app.topics.subscribe('a')
  await app.close()
  t.same([await all, await takeAll(late)], [[], []])
})

t.test('an error of the log is thrown by the loop, once, after the items before it', async t => {
  const log = new MemoryLog()
  const app = await buildTopicsApp(t, { log })
  const follow = log.follow.bind(log)
  log.follow = async () => { throw new errors.TOPICS_LOG_UNAVAILABLE('away') }
  const early = begin(app.topics.subscribe('a'))
  await t.rejects(early.next(), { code: 'TOPICS_LOG_UNAVAILABLE', statusCode: 503 })
  t.same(await early.next(), { done: true, value: undefined })
  log.follow = follow
  await publish(app, 'a', '1', '2')
  const read = log.read.bind(log)
  log.read = async (topic, after, limit) => {
    if (after.n === 0) return read(topic, after, { ...limit, count: 1 })
    throw new Error('a bug')
  }
  const loop = begin(app.topics.subscribe('a', { after: '0-0' }))
  t.same(dataOf(await take(loop, 1)), ['1'])
  await t.rejects(loop.next(), { message: 'a bug' })
  t.same(await loop.next(), { done: true, value: undefined })
  await released(app)
})

t.test('a loop that is left while the log is queried throws nothing', async t => {
  const log = new MemoryLog()
  const app = await buildTopicsApp(t, { log })
  let fail = (_error: Error): void => {}
  log.follow = () => new Promise((_resolve, reject) => { fail = reject })
  const loop = begin(app.topics.subscribe('a'))
  const next = loop.next()
  await until(() => app.topics.counts.feeds === 1)
  await loop.return?.()
  fail(new Error('a bug'))
  t.same([await next, await loop.next()], [{ done: true, value: undefined }, { done: true, value: undefined }])
  await released(app)
})

t.test('a signal of another realm or of a polyfill ends the loop', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', '1')
  const signal = Object.assign(new EventTarget(), { aborted: false })
  const seen: unknown[] = []
  for await (const item of app.topics.subscribe('a', { last: 1, signal: signal as unknown as AbortSignal })) {
    seen.push(item.kind)
    signal.aborted = true
    signal.dispatchEvent(new Event('abort'))
  }
  t.same(seen, ['event'])
})

t.test('an invalid signal is reported', async t => {
  const app = await buildTopicsApp(t)
  const message = '"signal" must be an AbortSignal, saw {}'
  t.throws(() => app.topics.subscribe('a', { signal: {} as AbortSignal }), { code: 'TOPICS_BAD_START', message })
})
