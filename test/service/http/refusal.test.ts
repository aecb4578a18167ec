import t from 'tap'
import { connect, get, open } from '../../support/clients/client.ts'
import { refused, shape } from '../../support/refusal.ts'
import { read, TestService } from '../../support/service/service-app.ts'
import type { Answer } from '../../support/service/service-app.ts'

// Requests that the service rejects: always with a 4xx and the same four fields, with a message that names the problem
// and the limit, and without any effect.

t.test('a body that is not an event is rejected with the expected form, and nothing is appended', async t => {
  const service = await TestService.start(t)
  const bodies: [string, RegExp][] = [
    ['"a string"', /must be an object { event\?, data, retry\? }, saw "a string"/],
    ['7', /saw 7/], ['null', /saw null/], ['true', /saw true/],
    ['{}', /field "data" is missing/],
    ['{"data":1,"id":"7"}', /field "id" is unknown: an event is/],
    ['{"data":1,"event":7}', /"event" must be a string, saw 7/],
    ['{"data":1,"event":null}', /"event" must be a string, saw null/],
    ['{"data":1,"event":"a\\nb"}', /"event" must not contain CR, LF or NUL, saw "a\\nb"/],
    ['{"data":1,"event":"a\\u0000"}', /"event" must not contain CR, LF or NUL/],
    ['{"data":1,"event":"stream.open"}', /"event" must not begin with "stream."/],
    ['{"data":1,"event":"error"}', /"event" must not be "open" or "error"/],
    ['{"data":1,"retry":-1}', /"retry" must be an integer from 0 to 3600000 \(ms\)/],
    ['{"data":1,"retry":3600001}', /from 0 to 3600000/], [
      '{"data":1,"retry":"5"}', /"retry"/
    ], ['{"data":1,"retry":1.5}', /"retry"/],
    ['[[]]', /event 0: must be an object/],
    ['[{"data":1},{"data":1},{"data":1,"event":"stream.x"}]', /event 2: field "event" must not begin/]
  ]
  for (const [body, message] of bodies) {
    t.match(shape(await service.publish('news', body)), refused(400, 'TOPICS_BAD_EVENT', message), body)
  }
  t.match(await service.counts('news'), [{ count: 0, last: null }])
})

t.test('a batch that is empty or too long is rejected with its limit', async t => {
  const service = await TestService.start(t)
  const batch = (length: number): object[] => Array.from({ length }, () => ({ data: '' }))
  t.match(
    shape(await service.publish('news', batch(0))),
    refused(400, 'TOPICS_BAD_BATCH', /must have 1 to 1000 events, saw 0/)
  )
  t.match(
    shape(await service.publish('news', batch(1_001))),
    refused(400, 'TOPICS_BAD_BATCH', /must have 1 to 1000 events, saw 1001/)
  )
  t.equal((await service.publish('news', batch(1_000))).status, 201)
  t.match(await service.counts('news'), [{ count: 1_000 }])
})

t.test('a body that is not JSON is rejected, and so are keys that would change a prototype', async t => {
  const service = await TestService.start(t)
  for (const body of [
    '{', '{"data":1}{', "{'data':1}", '\u0000', '{"data":"x","__proto__":{"a":1}}', '{"data":{"__proto__":{"a":1}}}',
    '[{"data":{"constructor":{"prototype":{"a":1}}}}]'
  ]) {
    t.match(
      shape(await service.publish('news', body)),
      refused(400, 'FST_ERR_CTP_INVALID_JSON_BODY', /not valid JSON/),
      body
    )
  }
  t.match(
    shape(await service.publish('news', '')),
    refused(400, 'TOPICS_BAD_EVENT', /must be an object .*, saw undefined/)
  )
  t.match(
    shape(await service.publish('news', '{"data":"x","constructor":1}')),
    refused(400, 'TOPICS_BAD_EVENT', /"constructor" is unknown/)
  )
  t.match(shape(await service.publish('__proto__', { data: 'x' })), refused(400, 'TOPICS_BAD_TOPIC', /saw "__proto__"/))
  t.equal(Object.hasOwn(Object.prototype, 'a'), false)
  t.match(await service.counts('news'), [{ count: 0, last: null }])
})

t.test('a body of another type, or without a type, is rejected with the accepted types', async t => {
  const service = await TestService.start(t)
  const post = (headers: Record<string, string>): Promise<Answer> => service.call('/topics/news/events', {
    method: 'POST', headers, body: '{"data":1}', type: headers['content-type'] ?? ''
  })
  for (const type of [
    'text/html', 'application/x-www-form-urlencoded', 'application/jsonl', 'application/vnd.x+json',
    'multipart/form-data', 'json'
  ]) {
    t.match(
      shape(await post({ 'content-type': type })),
      refused(415, 'SERVICE_BAD_MEDIA_TYPE', /must be application\/json, application\/x-ndjson, text\/plain, saw "/),
      type
    )
  }
  for (const [type, hint] of [
    ['application/x-www-form-urlencoded', /curl sends data as a form .*: add -H 'content-type: text\/plain'/],
    ['application/ndjson; charset=utf-8', /are sent as application\/x-ndjson$/],
    ['application/jsonl', /application\/x-ndjson$/]
  ] as const) {
    t.match(shape(await post({ 'content-type': type })), refused(415, 'SERVICE_BAD_MEDIA_TYPE', hint), type)
  }
  t.match(
    shape(await service.call('/topics/news/events', { method: 'POST' })),
    refused(400, 'TOPICS_BAD_EVENT', /saw undefined/)
  )
  const untyped = await fetch(`${service.origin}/topics/news/events`, {
    method: 'POST', headers: { connection: 'close' }, body: new Uint8Array([0x31])
  })
  t.match(shape(await read(untyped)), refused(415, 'SERVICE_BAD_MEDIA_TYPE', /, saw "none"$/))
  t.match(await service.counts('news'), [{ count: 0, last: null }])
})

t.test('an event or a body that is too large is rejected with its limit', async t => {
  const service = await TestService.start(t)
  const limit = 256 * 1024
  t.match(
    shape(await service.publish('news', { data: 'x'.repeat(limit) })),
    refused(413, 'TOPICS_EVENT_TOO_LARGE', /at most 262144 bytes on the wire, saw 262152/)
  )
  t.match(
    shape(await service.publish('news', 'x'.repeat(limit), { type: 'text/plain' })),
    refused(413, 'TOPICS_EVENT_TOO_LARGE', /262144/)
  )
  t.match(
    shape(await service.publish('news', [{ data: '' }, { data: '\n'.repeat(limit / 7) }])),
    refused(413, 'TOPICS_EVENT_TOO_LARGE', /^event 1: /),
    'the size on the wire counts'
  )
  const body = JSON.stringify(Array.from({ length: 5 }, () => ({ data: 'x'.repeat(limit - 100) })))
  t.match(shape(await service.publish('news', body)), refused(413, 'SERVICE_BODY_TOO_LARGE', /at most 1048576 bytes/))
  t.match(await service.counts('news'), [{ count: 0, last: null }])
  t.equal((await service.publish('news', { data: 'x'.repeat(limit - 8) })).status, 201, 'the largest allowed event')
})

t.test('an invalid topic is rejected on every call', async t => {
  const service = await TestService.start(t)
  const calls: [string, string][] = [['POST', '/events'], ['GET', ''], ['DELETE', ''], ['POST', '/close']]
  for (const topic of ['', '-x', '/a', 'a b', 'a*', 'a{b}', 'ä', 'a\n', '\0', 'x'.repeat(201), 'x'.repeat(9_000)]) {
    for (const [method, rest] of calls) {
      const answer = await service.call(`/topics/${encodeURIComponent(topic)}${rest}`, {
        method, ...(rest === '/events' ? { body: { data: 1 } } : {})
      })
      t.match(
        shape(answer),
        refused(400, 'TOPICS_BAD_TOPIC', /topic must be 1 to 200 characters of A-Z a-z 0-9/),
        `${method} ${topic.slice(0, 9)}`
      )
    }
    t.match(
      shape(await service.call(`/events?topic=ok&topic=${encodeURIComponent(topic)}`)),
      refused(400, 'TOPICS_BAD_TOPIC', /1 to 200/)
    )
  }
  t.match(
    shape(await service.call('/topics/a%2')),
    refused(400, 'SERVICE_BAD_REQUEST', /path "\/topics\/a%2" has invalid percent-encoding/)
  )
})

t.test('an invalid Idempotency-Key is rejected, and nothing is appended', async t => {
  const service = await TestService.start(t)
  for (const key of ['', 'a b', 'x'.repeat(129), 'é', 'a, b']) {
    const answer = await service.publish('news', { data: 1 }, { headers: { 'idempotency-key': key } })
    t.match(
      shape(answer),
      refused(400, 'TOPICS_BAD_IDEMPOTENCY_KEY', /must be 1 to 128 printable ASCII characters/),
      key.slice(0, 5)
    )
  }
  t.match(await service.counts('news'), [{ count: 0 }])
  t.equal((await service.publish('news', { data: 1 }, { headers: { 'idempotency-key': '!'.repeat(128) } })).status, 201)
})

t.test('a closed topic rejects events with 409, and is not changed', async t => {
  const service = await TestService.start(t)
  await service.publish('news', { data: 1 })
  await service.call('/topics/news/close', { method: 'POST' })
  t.match(shape(await service.publish('news', { data: 2 })), refused(409, 'TOPICS_CLOSED', /topic "news" is closed/))
  t.match(await service.counts('news'), [{ count: 1, isClosed: true }])
})

t.test('an invalid query of the stream is rejected with the parameter\'s name and range', async t => {
  const service = await TestService.start(t)
  const topics = (count: number): string => Array.from({ length: count }, (_, at) => `topic=t${at}`).join('&')
  const queries: [string, string, RegExp][] = [
    [
      '',
      'SERVICE_BAD_QUERY',
      /"topic" must be present \(known: topic, lastEventId, since, last, envelope, starting_after, control, final, ot\), saw none/
    ],
    [
      'topics=news',
      'SERVICE_BAD_QUERY',
      /"topic" must be present \(known: topic, lastEventId, since, last, envelope, starting_after, control, final, ot\), saw topics/
    ],
    [
      'topic=a&toString=1',
      'SERVICE_BAD_QUERY',
      /"toString" must be one of topic, lastEventId, since, last, envelope, starting_after, control, final, ot, saw an unknown name/
    ],
    ['topic=a&__proto__=1', 'SERVICE_BAD_QUERY', /"__proto__" must be one of/],
    [topics(45), 'TOPICS_BAD_TOPIC_COUNT', /1 to 44 topics, saw 45/],
    [
      'topic=a&'.repeat(45),
      'SERVICE_BAD_QUERY',
      /"topic" must be 1 to 44 topics, as in \?topic=news&topic=weather, saw \["a",/
    ],
    [
      'topic=a&since=soon',
      'SERVICE_BAD_QUERY',
      /"since" must be a duration such as 30s, 10m, 2h or 1d, up to 366d, saw "soon"/
    ],
    ['topic=a&since=', 'SERVICE_BAD_QUERY', /"since"/], ['topic=a&since=-1s', 'SERVICE_BAD_QUERY', /"since"/],
    ['topic=a&since=0s', 'TOPICS_BAD_START', /"since" must be 1 ms to 31622400000 ms/], [
      'topic=a&since=367d', 'TOPICS_BAD_START', /"since"/
    ],
    ['topic=a&since=1s&since=2s', 'SERVICE_BAD_QUERY', /"since" must be given only once, saw it 2 times/],
    ['topic=a&last=-1', 'TOPICS_BAD_START', /"last" must be an integer from 0 to 10000, saw -1/],
    ...['', '1e3', ' 5', '5.0', '0x10', '+5', '9'.repeat(10), 'ten'].map((last): [string, string, RegExp] => [
      `topic=a&last=${last}`, 'SERVICE_BAD_QUERY', /"last" must be an integer from 0 to 10000, saw "/
    ]),
    ['topic=a&last=10001', 'TOPICS_BAD_START', /"last" must be an integer from 0 to 10000, saw 10001/],
    ['topic=a&last=1&last=2', 'SERVICE_BAD_QUERY', /"last" must be given only once/],
    ['topic=a&starting_after=-1', 'SERVICE_BAD_QUERY', /"starting_after" must be an integer from 0, saw -1/],
    ['topic=a&starting_after=1.5', 'SERVICE_BAD_QUERY', /"starting_after" must be an integer from 0, saw "1.5"/],
    ['topic=a&starting_after=1&starting_after=2', 'SERVICE_BAD_QUERY', /"starting_after" must be given only once/],
    [
      'topic=a&topic=b&starting_after=1',
      'TOPICS_BAD_START',
      /"startingAfter" must be given for a single topic, saw 2 topics/
    ],
    ['topic=a&starting_after=1&last=1', 'TOPICS_BAD_START', /"startingAfter" must be given without "last", saw both/],
    [
      'topic=a&starting_after=1&lastEventId=1-1',
      'TOPICS_BAD_START',
      /"startingAfter" must be given without "after", saw both/
    ],
    ['topic=a&control=off', 'SERVICE_BAD_QUERY', /"control" must be in-band or none, saw "off"/],
    ['topic=a&control=none&control=none', 'SERVICE_BAD_QUERY', /"control" must be given only once/],
    ['topic=a&control=none&envelope=true', 'TOPICS_BAD_START', /"envelope" must be given without control "none"/],
    ['topic=a&final=x', 'TOPICS_BAD_START', /"final" must be given together with control "none"/],
    ['topic=a&control=none&final=', 'SERVICE_BAD_QUERY', /"final" must be 1 to 1000 characters, saw ""/],
    ['topic=a&envelope=yes', 'SERVICE_BAD_QUERY', /"envelope" must be true or false, saw "yes"/],
    ['topic=room.t18&topic=room.6erp', 'TOPICS_SAME_TAG', /have the same tag/],
    ['topic=a&last=1&since=1s', 'TOPICS_BAD_START', /"last" must be given without "since"/]
  ]
  for (const [query, code, message] of queries) {
    t.match(shape(await service.call(`/events?${query}`)), refused(400, code, message), query.slice(0, 40))
  }
  const { statusCode } = await open(t, `${service.origin}/events?${topics(44)}`)
  t.equal(statusCode, 200, 'the maximum number of topics of a connection')
})

t.test('a client that does not accept text/event-stream gets 406', async t => {
  const service = await TestService.start(t)
  for (const accept of ['application/json', 'text/html', 'text/event-stream;q=0', 'text/event-stream;q=0, */*']) {
    t.match(
      shape(await service.call('/events?topic=a', { headers: { accept } })),
      refused(406, 'FST_SSE_NOT_ACCEPTABLE', /is text\/event-stream/),
      accept
    )
  }
})

const CALLS: Record<string, string[]> = {
  '/events?topic=a': ['GET', 'HEAD', 'OPTIONS'],
  '/topics/a/events': ['GET', 'HEAD', 'POST', 'OPTIONS'],
  '/topics/a': ['GET', 'HEAD', 'DELETE', 'OPTIONS'],
  '/topics/a/close': ['POST', 'OPTIONS'],
  '/healthz': ['GET', 'HEAD', 'OPTIONS'],
  '/openapi.json': ['GET', 'HEAD', 'OPTIONS'],
  '/readyz': ['GET', 'HEAD', 'OPTIONS'],
  '/metrics': ['GET', 'HEAD', 'OPTIONS']
}

t.test('every other method on a path is 405 with Allow, whatever its body, and does nothing', async t => {
  const service = await TestService.start(t)
  await service.publish('a', { data: 1 })
  for (const [path, allowed] of Object.entries(CALLS)) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'].filter(
      method => !allowed.includes(method)
    )) {
      const hasBody = method !== 'GET' && method !== 'HEAD'
      const answer = await service.call(path, { method, ...(hasBody ? { body: '{', type: 'text/html' } : {}) })
      t.equal(answer.headers.get('allow'), allowed.join(', '), `${method} ${path}`)
      if (method === 'HEAD') t.match(answer, { status: 405, text: '' })
      else {
        t.match(
          shape(answer),
          refused(405, 'SERVICE_METHOD_NOT_ALLOWED', new RegExp(`allows ${allowed.join(', ')}, saw ${method}`)),
        `${method} ${path}`
        )
      }
    }
  }
  t.match(await service.counts('a'), [{ count: 1, isClosed: false }])
})

// fetch does not send TRACE.
t.test('TRACE is 405 too', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/events?topic=a', { method: 'TRACE', headers: 'Connection: close\r\n' }))
  t.match(await inbox.ended(), /^HTTP\/1.1 405 Method Not Allowed\r\nallow: GET, HEAD, OPTIONS\r\n/)
})

t.test('OPTIONS lists the methods of a path, without a body', async t => {
  const service = await TestService.start(t)
  for (const [path, allowed] of Object.entries(CALLS)) {
    const answer = await service.call(path, { method: 'OPTIONS', body: '{', type: 'text/html' })
    t.match(answer, { status: 204, text: '' }, path)
    t.equal(answer.headers.get('allow'), allowed.join(', '), path)
  }
})

t.test('HEAD responds as GET would, without a body; on the stream it starts none', async t => {
  const service = await TestService.start(t)
  const { status, headers, text } = await service.call('/events?topic=a', { method: 'HEAD' })
  t.match({ status, type: headers.get('content-type'), text }, { status: 200, type: 'text/event-stream', text: '' })
  for (const path of ['/topics/a', '/healthz']) {
    t.match(await service.call(path, { method: 'HEAD' }), { status: 200, text: '' })
  }
  t.match(await service.call('/events', { method: 'HEAD' }), { status: 400, text: '' })
})

t.test('an unknown path is 404, and the query is not repeated', async t => {
  const service = await TestService.start(t)
  for (const path of ['/events/', '/EVENTS', '/healthz/', '/topics/a/close/']) {
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const answer = await service.call(`${path}?ot=secret`, { method })
      t.match(
        shape(answer),
        refused(404, 'SERVICE_NO_SUCH_PATH', new RegExp(`^no route for ${path}$`)),
        `${method} ${path}`
      )
    }
  }
})

t.test('a topic whose slash is not encoded is 404 with a message that says how to write it', async t => {
  const service = await TestService.start(t)
  for (const path of ['/topics/a/b', '/topics/orders/7/events']) {
    const answer = await service.call(`${path}?ot=secret`, { method: 'POST' })
    t.match(shape(answer), refused(404, 'SERVICE_NO_SUCH_PATH', new RegExp(`^no route for ${path}: write a slash .* as %2F$`)))
  }
})
