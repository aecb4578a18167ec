import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { TopicEvent, TopicPage } from '../../plugin/topics/index.ts'
import { logs } from '../support/logs.ts'
import { randomFrom, seedFrom } from '../support/random.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

/** Reads page by page with these limits until a page is empty. */
async function readAll (
  app: FastifyInstance,
  topic: string,
  limitOf: () => number,
  after?: string
): Promise<{ events: TopicEvent[], pages: TopicPage[] }> {
  const pages = [await app.topics.read(topic, { after, limit: limitOf() })]
  while (pages.at(-1)!.events.length > 0) {
    pages.push(await app.topics.read(topic, { after: pages.at(-1)!.cursor, limit: limitOf() }))
  }
  return { events: pages.flatMap(page => page.events), pages }
}

/** The gap that a stream reports for the same cursor, and the data of the event after it. */
async function streamFrom (
  app: FastifyInstance,
  topic: string,
  cursor: string,
  count: number
): Promise<{ gap: unknown, data: string[] }> {
  const stream = await injectSse(app, { url: `/events?topic=${topic}`, headers: { 'last-event-id': cursor } })
  const events: { event: string, data: string }[] = []
  while (events.filter(({ event }) => event === 'message').length < count || events.length === 0) {
    events.push(...await stream.next(1))
  }
  stream.close()
  const gap = events.find(({ event }) => event === 'stream.gap')
  return {
    gap: gap && JSON.parse(gap.data), data: events.filter(({ event }) => event === 'message').map(({ data }) => data)
  }
}

/** Four events of which a page reads two at a time; calls back between the two reads of a page. */
async function pageInSteps (t: Test, between: (app: FastifyInstance) => Promise<unknown>): Promise<FastifyInstance> {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 4 }] })
  const app = await buildTopicsApp(t, { log })
  await publish(app, 'a', ...['1', '2', '3', '4'].map(text => text.repeat(100_000)))
  let reads = 0
  const read = log.read.bind(log)
  log.read = async (...args) => {
    if (++reads === 2) await between(app)
    return read(...args)
  }
  return app
}

const starts = ({ events }: TopicPage): string[] => events.map(({ data }) => data.slice(0, 1))

t.test('a page that is read in steps has no hole, whatever happens between two of them', async t => {
  const trimmed = await pageInSteps(t, app => publish(app, 'a', '5', '6', '7'))
  const first = await trimmed.topics.read('a')
  t.same([starts(first), first.gap], [['1', '2'], undefined])
  const second = await trimmed.topics.read('a', { after: first.cursor })
  t.match([starts(second), second.gap], [['4', '5', '6', '7'], { reason: 'trimmed', missed: 1 }])
  const deleted = await pageInSteps(t, app => app.topics.delete('a'))
  t.same(starts(await deleted.topics.read('a')), ['1', '2'])
  const whole = await pageInSteps(t, async () => {})
  t.same(starts(await whole.topics.read('a')), ['1', '2', '3', '4'])
  t.same(starts(await whole.topics.read('a', { maxBytes: 350_000 })), ['1', '2', '3'])
  t.same(starts(await whole.topics.read('a', { limit: 3 })), ['1', '2', '3'])
})

for (const [name, makeLog] of Object.entries(logs)) {
  t.test(`${name}: pages of any size contain exactly the published events, and end with isClosed`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t) })
    const seed = seedFrom('READ_SEED')
    t.comment(`READ_SEED=${seed}`)
    const random = randomFrom(seed)
    const data = Array.from({ length: 300 }, (_, at) => `e${at}`)
    const ids = await publish(app, 'a', ...data)
    for (const max of [1, 7, 100, 1_000]) {
      const { events, pages } = await readAll(app, 'a', () => max === 1 ? 37 : 1 + random(max))
      t.same(events, data.map((text, at) => ({ id: ids[at], topic: 'a', data: text })))
      t.notOk(pages.some(page => page.gap || page.isClosed), 'no gap, and the topic is open')
    }
    await app.topics.publish('b', { event: 'x', data: { y: 1 }, retry: 5 })
    t.match((await app.topics.read('b')).events, [{ topic: 'b', event: 'x', data: '{"y":1}', retry: 5 }])
    await app.topics.close('a')
    t.equal((await app.topics.read('a', { limit: 299 })).isClosed, false, 'one more event can be read')
    t.equal((await app.topics.read('a', { limit: 300 })).isClosed, true)
    t.same(await app.topics.read('a', { after: ids.at(-1) }), { events: [], cursor: ids.at(-1), isClosed: true })
  })

  t.test(`${name}: a page is limited by bytes, and has at least one event`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t) })
    await publish(app, 'a', ...Array.from({ length: 10 }, () => 'x'.repeat(1_000)))
    t.equal((await app.topics.read('a', { maxBytes: 1 })).events.length, 1)
    const { length } = (await app.topics.read('a', { maxBytes: 3_500 })).events
    t.ok(length >= 2 && length <= 4, `${length} events`)
  })

  t.test(`${name}: a topic without events is an empty page, and its cursor misses no later event`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t) })
    const empty = await app.topics.read('a')
    t.match(empty, { events: [], isClosed: false })
    await publish(app, 'a', '1', '2')
    t.same((await app.topics.read('a', { after: empty.cursor })).events.map(({ data }) => data), ['1', '2'])
    t.same(await streamFrom(app, 'a', empty.cursor, 2), { gap: undefined, data: ['1', '2'] })
    await app.topics.delete('a')
    const deleted = await app.topics.read('a')
    t.same(deleted.events, [])
    await publish(app, 'a', '3')
    t.match(await app.topics.read('a', { after: deleted.cursor }), { events: [{ data: '3' }], gap: undefined })
  })

  t.test(`${name}: a page reports the gaps that a stream reports for the same cursor`, async t => {
    const app = await buildTopicsApp(t, { log: await makeLog(t, [{ topics: '*', maxEvents: 5 }]) })
    const ids: string[] = []
    for (let at = 0; at < 10; at++) ids.push(...await publish(app, 'a', `e${at}`))
    const { first } = await app.topics.info('a')
    const kept = ids.slice(ids.indexOf(first!))
    const cursors = [...ids, '0-0', '1-1', 'nonsense', '9999999999999-500', `nonsense, ${ids[7]}`]
    for (const cursor of cursors) {
      const page = await app.topics.read('a', { after: cursor })
      const streamed = await streamFrom(app, 'a', cursor, page.events.length)
      t.same({ gap: page.gap, data: page.events.map(({ data }) => data) }, streamed, cursor)
      t.equal(page.cursor, ids.at(-1))
    }
    t.same((await app.topics.read('a')).events.map(({ id }) => id), kept, 'without a cursor nothing is missing')
    t.match(await app.topics.read('a', { after: 'nonsense', limit: 1 }), {
      gap: { topic: 'a', reason: 'unknown', after: null, resumedAt: kept[0] }
    })
  })
}

t.test('a cursor over several topics can be read, and a topic that is not in it starts now', async t => {
  const app = await buildTopicsApp(t)
  await publish(app, 'a', '1')
  const both = await injectSse(app, '/events?topic=a&topic=b')
  const [{ id: vector }] = await both.next() as unknown as [{ id: string }]
  both.close()
  await publish(app, 'a', '2')
  const [last] = await publish(app, 'c', '1')
  t.match(await app.topics.read('a', { after: vector }), { events: [{ data: '2' }], gap: undefined })
  t.match(await app.topics.read('a', { after: ['', vector] }), { events: [{ data: '2' }] })
  t.same(await app.topics.read('c', { after: vector }), { events: [], cursor: last, isClosed: false })
})

// The log trims between the queries of one read: missing events must be in the gap, and new ones must not be skipped.
t.test('events that are trimmed or published while a page is read are neither lost nor duplicated', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: 5 }] })
  const app = await buildTopicsApp(t, { log })
  const ids = await publish(app, 'a', '1', '2', '3', '4', '5')
  const read = log.read.bind(log)
  let before = async (): Promise<unknown> => undefined
  let after = before
  log.read = async (...args) => {
    await before()
    const entries = await read(...args)
    await after()
    return entries
  }
  before = () => publish(app, 'a', '6', '7', '8', '9')
  const trimmed = await app.topics.read('a', { after: ids[1] })
  const [first] = trimmed.events
  t.match(trimmed.gap, { reason: 'trimmed', after: ids[1], resumedAt: first!.id, missed: Number(first!.data) - 3 })
  before = async () => undefined
  after = () => publish(app, 'a', ...Array.from({ length: 20 }, (_, at) => String(10 + at)))
  const whole = await app.topics.read('a', { after: first!.id })
  t.equal(whole.gap, undefined, 'the page was read before the trim')
  t.equal(whole.events[0]?.data, String(Number(first!.data) + 1))
  const atEnd = (await app.topics.info('a')).last!
  after = async () => { await publish(app, 'a', 'late'); await app.topics.close('a') }
  const empty = await app.topics.read('a', { after: atEnd })
  t.same(empty, { events: [], cursor: atEnd, isClosed: false }, 'closed, but not read to its end')
})

t.test('invalid options are reported with name, range and value', async t => {
  const app = await buildTopicsApp(t)
  const bad: [object | null, string][] = [
    [{ limit: 0 }, '"limit" must be an integer from 1 to 1000, saw 0'],
    [{ limit: 1_001 }, '"limit" must be an integer from 1 to 1000, saw 1001'],
    [{ limit: 1.5 }, '"limit" must be an integer from 1 to 1000, saw 1.5'],
    [{ limit: '5' }, '"limit" must be an integer from 1 to 1000, saw "5"'],
    [{ maxBytes: 0 }, '"maxBytes" must be an integer from 1 to 16777216, saw 0'],
    [{ after: 5 }, '"after" must be a cursor, saw 5'],
    [{ last: 5 }, '"last" must be one of after, limit, maxBytes, saw an unknown option'],
    [null, '"options" must be an object, saw null']
  ]
  for (const [options, message] of bad) {
    await t.rejects(app.topics.read('a', options as object), {
      code: 'TOPICS_BAD_START', statusCode: 400, message
    }, message)
  }
  await t.rejects(app.topics.read(' '), { code: 'TOPICS_BAD_TOPIC', statusCode: 400 })
  const none = { after: undefined, limit: undefined, maxBytes: undefined, other: undefined }
  t.match(await app.topics.read('a', none), { events: [] })
})

t.test('history, then a stream from its cursor: no gap and no duplicate while others publish on Redis', async t => {
  const app = await buildTopicsApp(t, { log: await logs.Redis(t) })
  const expected = Array.from({ length: 200 }, (_, at) => `e${at}`)
  for (const topic of ['a', 'b', 'c', 'd', 'e']) {
    const publishing = (async () => { for (const data of expected) await publish(app, topic, data) })()
    const { events, pages } = await readSome(app, topic, 3)
    const rest = await streamFrom(app, topic, pages.at(-1)!.cursor, expected.length - events.length)
    t.equal(rest.gap, undefined)
    t.same([...events.map(({ data }) => data), ...rest.data], expected)
    await publishing
  }
})

async function readSome (
  app: FastifyInstance,
  topic: string,
  count: number
): Promise<{ events: TopicEvent[], pages: TopicPage[] }> {
  const pages = [await app.topics.read(topic, { limit: 20 })]
  while (pages.length < count) pages.push(await app.topics.read(topic, { after: pages.at(-1)!.cursor, limit: 20 }))
  return { events: pages.flatMap(page => page.events), pages }
}
