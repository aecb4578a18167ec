import t from 'tap'
import { open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'

// Successful calls to the service, over real sockets; rejected ones are in refusal.test.ts.

const FIRST_ID = /^\d{13}-1$/

/** The text of a stream without the clock parts of ids. */
const withoutClock = (text: string): string => text.replace(/\b\d{13}-(\d+)/g, '<ms>-$1')

t.test('one event is published as a JSON object, and the response is its id', async t => {
  const service = await TestService.start(t)
  const { status, headers, json } = await service.publish('news', { data: 'hello' })
  t.equal(status, 201)
  t.match(json, { id: FIRST_ID })
  t.equal(headers.get('idempotency-replayed'), null)
})

t.test('a JSON array is a batch: the response lists the ids in its order', async t => {
  const service = await TestService.start(t)
  const { status, json } = await service.publish('news', [
    { data: 'a' }, { event: 'score', data: { home: 1 } }, { data: null, retry: 5 }
  ])
  t.equal(status, 201)
  t.match(json, { ids: [FIRST_ID, /-2$/, /-3$/] })
  t.match((await service.publish('news', [{ data: 'alone' }])).json, { ids: [/-4$/] })
})

t.test('a text/plain body is the data of one event, whatever it contains', async t => {
  const service = await TestService.start(t)
  const texts = ['hello', '', '{"data":"not read"}', 'zwei\nZeilen · 二行', ' \t']
  for (const [at, text] of texts.entries()) {
    const type = at % 2 === 0 ? 'text/plain' : 'text/plain; charset=utf-8'
    t.match(await service.publish('news', text, { type }), { status: 201, json: { id: new RegExp(`-${at + 1}$`) } })
  }
  const { inbox } = await open(t, `${service.origin}/events?topic=news&last=9`)
  const text = await inbox.until('data:  \t\n')
  t.match(text, 'data: {"data":"not read"}\n\n')
  t.match(text, 'data: zwei\ndata: Zeilen · 二行\n\n')
})

t.test('published events are received on the stream unchanged', async t => {
  const service = await TestService.start(t)
  const { inbox } = await open(t, `${service.origin}/events?topic=news`)
  await inbox.until('stream.open')
  await service.publish('news', [
    { data: 'text' }, { event: 'score', data: { home: 1 } }, { event: 'n', data: 0, retry: 70 },
    { data: false }, { data: null }, { data: ['a\nb'] }, { data: 'a\r\nb\rc' }, { data: '' }
  ])
  const text = await inbox.until(text => /-8\ndata: \n\n$/.test(text))
  t.equal(withoutClock(text.slice(text.indexOf('id: 0-0'))), [
    'id: 0-0\nevent: stream.open\ndata: \n',
    'id: <ms>-1\ndata: text\n',
    'id: <ms>-2\nevent: score\ndata: {"home":1}\n',
    'id: <ms>-3\nevent: n\nretry: 70\ndata: 0\n',
    'id: <ms>-4\ndata: false\n',
    'id: <ms>-5\ndata: null\n',
    'id: <ms>-6\ndata: ["a\\nb"]\n',
    'id: <ms>-7\ndata: a\ndata: b\ndata: c\n',
    'id: <ms>-8\ndata: \n'
  ].map(block => block + '\n').join(''))
})

t.test('a repeated Idempotency-Key adds nothing, returns the first ids and says so', async t => {
  const service = await TestService.start(t)
  const headers = { 'idempotency-key': 'order-7!' }
  const first = await service.publish('news', [{ data: 'a' }, { data: 'b' }], { headers })
  const again = await service.publish('news', [{ data: 'a' }, { data: 'b' }], { headers })
  t.same(again.json, first.json)
  t.match([first.status, again.status], [201, 201])
  t.same([first, again].map(({ headers }) => headers.get('idempotency-replayed')), [null, 'true'])
  t.match((await service.publish('other', { data: 'a' }, { headers })).json, {
    id: FIRST_ID
  }, 'a key belongs to a topic')
  t.match(await service.counts('news'), [{ count: 2 }])
})

t.test('an Idempotency-Key also works after the topic was closed, so that a retry learns the result', async t => {
  const service = await TestService.start(t)
  const headers = { 'idempotency-key': 'last' }
  const { json } = await service.publish('news', { data: 'a' }, { headers })
  await service.call('/topics/news/close', { method: 'POST' })
  t.match(await service.publish('news', { data: 'a' }, { headers }), { status: 201, json: json as object })
})

t.test('publishes with one key at the same time add one event', async t => {
  const service = await TestService.start(t)
  const answers = await Promise.all(Array.from(
    { length: 20 },
    () => service.publish('news', { data: 'x' }, { headers: { 'idempotency-key': 'k' } })
  ))
  t.equal(new Set(answers.map(({ text }) => text)).size, 1)
  t.equal(answers.filter(({ headers }) => headers.get('idempotency-replayed') === null).length, 1)
  t.match(await service.counts('news'), [{ count: 1 }])
})

t.test('a topic is described by its first and last ids; one without events is empty', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '2' })
  t.match(await service.call('/topics/news'), {
    status: 200, json: { topic: 'news', first: null, last: null, count: 0, isClosed: false }
  })
  const { json } = await service.publish('news', ['1', '2', '3'].map(data => ({ data })))
  const { ids } = json as { ids: string[] }
  t.same((await service.call('/topics/news')).json, {
    topic: 'news',
    first: ids[1],
    last: ids[2],
    count: 2,
    isClosed: false,
    reason: null,
    message: null,
    producer: null,
    subscribers: 0
  })
})

t.test('the streams that follow a topic are counted, while they are open', async t => {
  const service = await TestService.start(t)
  const subscribers = async (topic: string): Promise<unknown> =>
    ((await service.call(`/topics/${topic}`)).json as { subscribers: number }).subscribers
  const one = await open(t, `${service.origin}/events?topic=a&topic=b`)
  const two = await open(t, `${service.origin}/events?topic=a`)
  await Promise.all([one, two].map(({ inbox }) => inbox.until('stream.open')))
  t.same(await Promise.all(['a', 'b', 'c'].map(subscribers)), [2, 1, 0])
  for (const { close } of [one, two]) close()
  while (await subscribers('a') !== 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(await subscribers('b'), 0)
  await service.call('/events?topic=a', { method: 'HEAD' })
  t.equal(await subscribers('a'), 0, 'HEAD does not count as a subscriber')
})

t.test('a closed topic ends its streams, and a client that reconnects gets 204', async t => {
  const service = await TestService.start(t)
  await service.publish('news', { data: 'last' })
  const { inbox } = await open(t, `${service.origin}/events?topic=news&last=1`)
  t.match(await service.call('/topics/news/close', { method: 'POST' }), { status: 204, text: '' })
  t.match(
    await inbox.ended(),
    /data: last\n\nid: \d+-1\nevent: stream.end\ndata: {"topic":"news","reason":"closed"}\n\n$/
  )
  t.match(await service.counts('news'), [{ isClosed: true, count: 1 }])
  const { last } = (await service.call('/topics/news')).json as { last: string }
  t.equal((await service.call('/events?topic=news', { headers: { 'last-event-id': last } })).status, 204)
  t.equal(
    (await service.call('/topics/news/close', { method: 'POST' })).status,
    204,
    'closing twice is the same as closing once'
  )
})

t.test('deleting drops the events and reopens the topic; its numbers continue', async t => {
  const service = await TestService.start(t)
  await service.publish('news', [{ data: 'a' }, { data: 'b' }])
  await service.call('/topics/news/close', { method: 'POST' })
  t.match(await service.call('/topics/news', { method: 'DELETE' }), { status: 204, text: '' })
  t.match(await service.counts('news'), [{ first: null, last: /-2$/, count: 0, isClosed: false }])
  t.match((await service.publish('news', { data: 'c' })).json, { id: /-3$/ })
  t.equal((await service.call('/topics/never', { method: 'DELETE' })).status, 204)
})

t.test('a topic name may contain characters that are encoded in a path, and up to 200 of them', async t => {
  const service = await TestService.start(t)
  for (const topic of [
    'orders/7', 'a:b@c~d._-', 'a//b/', 'constructor', 'toString', 'x'.repeat(200), '7' + '/'.repeat(199)
  ]) {
    t.equal((await service.publish(topic, { data: 'x' })).status, 201, topic)
    t.match(await service.counts(topic), [{ topic, count: 1 }])
    const { inbox } = await open(t, `${service.origin}/events?last=1&topic=${encodeURIComponent(topic)}`)
    await inbox.until('data: x\n')
    t.equal((await service.call(`/topics/${encodeURIComponent(topic)}/close`, { method: 'POST' })).status, 204)
  }
})

t.test('a topic that does not exist yet is an empty stream, and its first event is received', async t => {
  const service = await TestService.start(t)
  const { statusCode, headers, inbox } = await open(t, `${service.origin}/events?topic=later`)
  t.equal(statusCode, 200)
  t.match(headers, {
    'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no'
  })
  t.equal(await inbox.until('stream.open\ndata: \n\n'), ':\nretry: 3000\nid: 0-0\nevent: stream.open\ndata: \n\n')
  await service.publish('later', { data: 'first' })
  await inbox.until('data: first')
})

t.test('last and since choose where a client without a cursor starts', async t => {
  const service = await TestService.start(t)
  await service.publish('news', ['1', '2', '3'].map(data => ({ data })))
  const begins: Record<string, string[]> = {
    'last=2': ['2', '3'],
    'last=0': [],
    'last=10000': ['1', '2', '3'],
    'since=1d': ['1', '2', '3'],
    'since=366d': ['1', '2', '3']
  }
  for (const [query, shown] of Object.entries(begins)) {
    const { inbox } = await open(t, `${service.origin}/events?topic=news&${query}`)
    await inbox.until('stream.open')
    await service.publish('news', { data: `end of ${query}` })
    const text = await inbox.until(`data: end of ${query}\n`)
    t.same([...text.matchAll(/^data: (\d)$/gm)].map(match => match[1]), shown, query)
  }
})

t.test('with an envelope each event names its topic', async t => {
  const service = await TestService.start(t)
  const { id } = (await service.publish('news', { event: 'score', data: { home: 1 } })).json as { id: string }
  for (const [query, data] of [
    ['true', JSON.stringify({ topic: 'news', id, event: 'score', data: '{"home":1}' })], ['false', '{"home":1}']
  ] as const) {
    const { inbox } = await open(t, `${service.origin}/events?topic=news&last=1&envelope=${query}`)
    await inbox.until(`id: ${id}\nevent: score\ndata: ${data}\n\n`)
  }
})

t.test('a cursor is read from Last-Event-ID or lastEventId, and the header has precedence', async t => {
  const service = await TestService.start(t)
  const { ids } = (await service.publish('news', ['1', '2', '3'].map(data => ({ data })))).json as { ids: string[] }
  const shown = async (query: string, cursor?: string): Promise<string[]> => {
    const headers = { accept: 'text/event-stream', ...(cursor === undefined ? {} : { 'last-event-id': cursor }) }
    const { inbox } = await open(t, `${service.origin}/events?topic=news${query}`, { headers })
    const text = await inbox.until('data: 3\n')
    return [...text.matchAll(/^data: (\d)$/gm)].map(match => match[1]!)
  }
  t.same(await shown('', ids[0]), ['2', '3'])
  t.same(await shown(`&lastEventId=${ids[0]}`), ['2', '3'])
  t.same(await shown(`&lastEventId=${ids[0]}`, ids[1]), ['3'])
  t.same(await shown('&lastEventId=0-0', ''), ['1', '2', '3'])
  t.same(await shown('&lastEventId=&last=1'), ['3'])
  t.same(await shown('&last=3', ids[1]), ['3'], 'a client with a cursor never receives events again because of last')
})

// Any status except 200 ends an EventSource permanently.
t.test('an unreadable cursor is never rejected: it is reported as a gap on a stream with status 200', async t => {
  const service = await TestService.start(t)
  await service.publish('a', { data: 'kept' })
  const cursors = ['$', 'x', '-1-1', '1-', '01-1', '9'.repeat(
    40
  ), '99999999999999-7', 'x'.repeat(2_000), '1-1,1-1', '%00', 'é', 'AAAAAA1-1,', '1 2']
  for (const cursor of cursors) {
    const { statusCode, inbox } = await open(
      t,
      `${service.origin}/events?topic=a&lastEventId=${encodeURIComponent(cursor)}`
    )
    t.equal(statusCode, 200, cursor.slice(0, 20))
    t.match(
      await inbox.until('data: kept'),
      /event: stream.gap\ndata: {"topic":"a","after":(null|"[^"]+"),"resumedAt":"\d+-1","reason":"unknown"/
    )
  }
  const {
    statusCode, inbox
  } = await open(t, `${service.origin}/events?topic=a&topic=b`, { headers: { 'last-event-id': 'a\tb', accept: '*/*' } })
  t.equal(statusCode, 200)
  await inbox.until('data: kept')
})

t.test('the process reports its health while it serves', async t => {
  const service = await TestService.start(t)
  t.match(await service.call('/healthz'), { status: 200, json: { status: 'ok' } })
})
