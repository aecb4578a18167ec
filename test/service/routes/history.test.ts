import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { EventSource } from 'eventsource'
import { connect } from '../../support/clients/client.ts'
import { certificateFiles, openSession } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'
import { occupy } from '../../support/service/occupy.ts'
import { TestService } from '../../support/service/service-app.ts'
import type { Answer } from '../../support/service/service-app.ts'
import { ServiceProcess } from '../../support/service/service-process.ts'
import { StubbornPublisher } from '../../support/service/stubborn-publisher.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

interface Page {
  events: { id: string, topic: string, event?: string, data: string, retry?: number }[]
  cursor: string
  isClosed: boolean
  gap?: unknown
}

const read = (service: TestService, query = '', headers: Record<string, string> = {}): Promise<Answer> =>
  service.call(`/topics/news/events${query}`, { headers })
const pageOf = async (service: TestService, query = ''): Promise<Page> => (await read(service, query)).json as Page

async function publish (service: TestService, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, at) => ({ data: `${at + 1}` }))
  const { status } = await service.publish('news', events)
  if (status !== 201) throw new Error(`${status}`)
}

t.test('pages lead from the oldest event to the end', async t => {
  const service = await TestService.start(t)
  t.match(await pageOf(service), { events: [], isClosed: false, cursor: /^\d+-0$/ }, 'a topic without events')
  await publish(service, 5)
  const first = await pageOf(service, '?limit=2')
  t.match(first, {
    events: [{ topic: 'news', data: '1', id: /-1$/ }, { data: '2' }], cursor: first.events[1]!.id, isClosed: false
  })
  const second = await pageOf(service, `?limit=2&after=${first.cursor}`)
  t.same(second.events.map(({ data }) => data), ['3', '4'])
  const third = await pageOf(service, `?limit=2&after=${second.cursor}`)
  t.same([third.events.map(({ data }) => data), third.isClosed], [['5'], false])
  t.match(await pageOf(service, `?after=${third.cursor}`), { events: [], cursor: third.cursor })
  await service.call('/topics/news/close', { method: 'POST' })
  t.equal((await pageOf(service, `?after=${third.cursor}`)).isClosed, true)
})

t.test('an event is returned as it was published: name, JSON, retry', async t => {
  const service = await TestService.start(t)
  await service.publish('news', { event: 'score', data: { home: 1 }, retry: 500 })
  t.match((await pageOf(service)).events, [{ topic: 'news', event: 'score', data: '{"home":1}', retry: 500 }])
})

t.test('a gap is reported in the page', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '2' })
  await publish(service, 5)
  const { cursor } = await pageOf(service)
  const ms = cursor.split('-')[0]
  t.match(await pageOf(service, `?after=${ms}-1`), {
    gap: { topic: 'news', reason: 'trimmed', after: `${ms}-1`, resumedAt: `${ms}-4`, missed: 2 },
    events: [{ data: '4' }, { data: '5' }]
  })
  t.match(await pageOf(service, '?after=nonsense'), { gap: { reason: 'unknown', after: null } })
})

t.test('a client that prefers NDJSON gets it', async t => {
  const service = await TestService.start(t)
  await publish(service, 2)
  const accepts: [string, string | undefined][] = [
    ['application/x-ndjson', 'application/x-ndjson'], [
      'application/json;q=0.5, application/x-ndjson', 'application/x-ndjson'
    ],
    ['*/*', 'application/json; charset=utf-8'], ['application/*', 'application/json; charset=utf-8'], [
      'application/x-ndjson;q=0.5, application/json', 'application/json; charset=utf-8'
    ],
    ['text/html', undefined], ['application/json;q=0', undefined]
  ]
  for (const [accept, type] of accepts) {
    const { status, headers, json, text } = await read(service, '', { accept })
    if (type === undefined) {
      t.match({ status, json }, {
        status: 406,
        json: {
          code: 'SERVICE_NOT_ACCEPTABLE',
          message: `Accept must allow application/json or application/x-ndjson, saw "${accept}"`
        }
      })
    } else t.same([status, headers.get('content-type')], [200, type], accept)
    if (type === 'application/x-ndjson') {
      t.match(text.trimEnd().split('\n').map(line => JSON.parse(line) as object), [
        { topic: 'news', data: '1' }, { data: '2' }, { cursor: /-2$/, isClosed: false }
      ])
    }
  }
  const { text } = await read(service, '?after=x', { accept: 'application/x-ndjson' })
  t.match(JSON.parse(text.split('\n')[0]!), { gap: { reason: 'unknown' } })
})

t.test('an invalid parameter is rejected by name', async t => {
  const service = await TestService.start(t)
  for (const [query, message] of [
    ['?limit=0', 'query parameter "limit" must be an integer from 1 to 1000, saw 0'], ['?limit=1001', '"limit"'], [
      '?limit=x', '"limit"'
    ], ['?limit=1&limit=2', '"limit"'],
    ['?maxBytes=0', 'query parameter "maxBytes" must be an integer from 1 to 16777216, saw 0'], [
      '?last=1', 'query parameter "last" must be one of after, limit, maxBytes, saw an unknown name'
    ]
  ] as const) {
    const { status, json } = await read(service, query)
    t.match({ status, json }, { status: 400, json: { code: 'SERVICE_BAD_QUERY' } }, query)
    t.ok((json as { message: string }).message.includes(message), (json as { message: string }).message)
  }
  t.match(await service.call('/topics/-/events'), { status: 400, json: { code: 'TOPICS_BAD_TOPIC' } })
  await publish(service, 3)
  t.equal((await pageOf(service, '?maxBytes=1')).events.length, 1)
  const { cursor } = await pageOf(service, '?limit=1')
  t.same(
    (await pageOf(service, `?after=nonsense&after=${cursor}`)).events.map(({ data }) => data),
    ['2', '3'],
    'of several cursors the last readable one'
  )
})

t.test('a client that may subscribe may read, and no other client', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const claims = (subscribe: string[], publish: string[] = []) => ({ topics: { subscribe, publish } })
  t.equal((await read(service)).status, 401)
  t.equal((await read(service, '', bearer(await sign(claims(['news']))))).status, 200)
  t.equal((await read(service, '', bearer(await sign(claims(['n*']))))).status, 200)
  t.equal((await read(service, '', bearer(await sign(claims(['other'], ['news']))))).status, 403)
  t.equal(
    (await service.call('/topics/news/events', {
      method: 'HEAD', headers: bearer(await sign(claims(['other'])))
    })).status,
    403
  )
})

// The order that a page needs: render the history, then subscribe from its end.
t.test('history, then a stream from its cursor: no gap and no duplicate under load, over kill -9', async t => {
  const service = await ServiceProcess.start(t, { RETRY_MS: '50' })
  const publisher = new StubbornPublisher({
    name: 'p', topics: ['news'], origin: () => service.up.then(() => service.origin), onAcknowledged: () => {}
  })
  t.teardown(() => publisher.stop())
  for (let round = 0; round < 3; round++) {
    const seen = await history(service.origin)
    const isLater = await follow(t, service.origin, seen)
    await isLater(seen.length + 20)
    await service.kill()
    await service.start()
    await isLater(seen.length + 20)
    t.same(seen, seen.map((_, at) => `news p ${at + 1}`))
  }
})

/** All data of the topic, and the cursor at its end. */
async function history (origin: string): Promise<string[] & { cursor?: string }> {
  const seen: string[] & { cursor?: string } = []
  for (;;) {
    const response = await fetch(
      `${origin}/topics/news/events?limit=100${seen.cursor === undefined ? '' : `&after=${seen.cursor}`}`
    )
    const page = await response.json() as Page
    seen.push(...page.events.map(({ data }) => data))
    seen.cursor = page.cursor
    if (page.events.length === 0) return seen
  }
}

/**
 * Adds what a native EventSource receives from there on. Resolves to a function that waits for a total number of
 * events.
 */
async function follow (
  t: Test,
  origin: string,
  seen: string[] & { cursor?: string }
): Promise<(count: number) => Promise<void>> {
  const source = new EventSource(`${origin}/events?topic=news&lastEventId=${seen.cursor}`)
  t.teardown(() => source.close())
  let look = (): void => {}
  source.onmessage = ({ data }) => { seen.push(data as string); look() }
  source.addEventListener('stream.gap', ({ data }) => t.fail(`a gap: ${data}`))
  return count => new Promise(resolve => {
    look = () => { if (seen.length >= count) resolve() }
    look()
  })
}

// Regression: a request of 86 bytes can ask for 16 MiB. One connection sent 60 of them at once and read nothing: the
// process used 1.1 GB for as long as the client liked, and answered nobody for 10 s.
t.test('pages in progress are limited together, and a waiting one is released when its client disconnects', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '1000000' })
  for (let sent = 0; sent < 4; sent++) await service.publish('news', { data: 'x'.repeat(200_000) })
  const client = await connect(t, service.origin)
  client.send('GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await client.inbox.until(text => text.includes('stream.open'))
  t.equal((await read(service, '?limit=4')).status, 200)
  // Its turn never comes, because the client does not read; this excludes the buffers of the system.
  await occupy(service, client.send, '/topics/news/events?limit=4')
  const isBusy = async (): Promise<boolean> => (await read(service, '?limit=4')).status === 503
  t.equal(await isBusy(), true)
  const { json, headers } = await read(service, '?limit=4', { accept: 'application/x-ndjson' })
  t.match({ json, retry: headers.get('retry-after') }, { json: { code: 'SERVICE_BUSY' }, retry: '1' })
  t.equal((await read(service, '?maxBytes=1000')).status, 503, 'one event of it is larger than the remaining space')
  client.socket.destroy()
  await until(async () => !await isBusy())
})

// Regression: names counted for nothing: 17 small uploads filled a page of one byte with 262 MB.
t.test('names are limited on every way in, and count in a page', async t => {
  const service = await TestService.start(t)
  const name = 'n'.repeat(1_025)
  const refused = (message: RegExp) => ({ status: 400, json: { message } })
  const rule = /"event" must be at most 1024 bytes, saw 1025$/
  const line = `${JSON.stringify({ event: name, data: '' })}\n`
  const of = (url: string, type: string, body: string): Promise<Answer> =>
    service.call(url, { method: 'POST', type, body })
  t.match(await service.publish('news', { event: name, data: '' }), refused(rule))
  t.match(await service.publish('news', { event: '€'.repeat(342), data: '' }), refused(/at most 1024 bytes, saw 1026$/))
  t.match(await service.publish('news', line, { type: 'application/x-ndjson' }), refused(rule))
  const live = refused(/on line 1: field "event" must be at most 1024 bytes, saw 1025; the log has 0 events/)
  t.match(await of('/topics/a/producer', 'application/x-ndjson', line), live)
  t.match(await of('/topics/b/producer', 'text/event-stream', `event: ${name}\ndata\n\n`), {
    ...live, json: { message: /before line 3: field "event" must be at most 1024 bytes, saw 1025; the log has 0 events/ }
  })
  t.same(await pageOf(service).then(({ events }) => events), [])
  const events = Array.from({ length: 1_000 }, () => ({ event: 'n'.repeat(1_024), data: '' }))
  t.equal((await service.publish('news', events.slice(0, 900))).status, 201)
  t.equal((await pageOf(service, '?limit=1000&maxBytes=1')).events.length, 1)
  t.equal((await pageOf(service, '?limit=1000&maxBytes=10560')).events.length, 10)
})

t.test('a client has limited time to receive a page', async t => {
  const service = await TestService.start(t, {}, { requestMs: 200 })
  const client = await connect(t, service.origin)
  client.send(
    'GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\nGET /topics/news/events HTTP/1.1\r\nHost: ' +
      'localhost\r\n\r\n'
  )
  await client.inbox.ended()
  t.match(await service.app.metrics.getSingleMetricAsString('sse_connections_cut_total'), 'reason="slow"} 1')
  for (let asked = 0; asked < 3; asked++) t.equal((await read(service)).status, 200)
})

t.test('over HTTP/2 the time limit closes only the stream', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, { TLS_CERT: cert, TLS_KEY: key }, { requestMs: 200 })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  const ask = (method: string, path: string) =>
    session.request({ ':method': method, ':path': path, 'content-type': 'text/plain' })
  const publish = ask('POST', '/topics/news/events')
  publish.end('x'.repeat(200_000))
  await once(publish, 'response')
  const page = ask('GET', '/topics/news/events')
  await once(page, 'response')
  // Not read, so that the window of the stream is full.
  await once(page, 'close')
  const other = ask('GET', '/healthz')
  const [headers] = await once(other, 'response') as [Record<string, unknown>]
  t.equal(headers[':status'], 200)
})
