import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { open } from '../../support/clients/client.ts'
import { Command } from '../../support/processes/commands.ts'
import { certificateFiles, openSession } from '../../support/network/http2-client.ts'
import { LiveSender } from '../../support/service/live-sender.ts'
import { until } from '../../support/until.ts'
import { TestService } from '../../support/service/service-app.ts'
import { SECRET, sign } from '../../support/auth/tokens.ts'

/** Data of a topic's events. */
async function dataOf (service: TestService, topic: string, headers: Record<string, string> = {}): Promise<string[]> {
  const { json } = await service.call(`/topics/${encodeURIComponent(topic)}/events?limit=1000`, { headers })
  return (json as { events: { data: string }[] }).events.map(({ data }) => data)
}

const producerOf = async (service: TestService, topic: string) =>
  (await service.call(`/topics/${topic}/producer`)).json as Record<string, unknown>
const untilCount = (service: TestService, topic: string, count: number) =>
  until(async () => (await dataOf(service, topic)).length === count)

t.test('each line is published when it arrives, and the end of the body ends the topic', async t => {
  const service = await TestService.start(t)
  const { inbox } = await open(t, `${service.origin}/events?topic=build`)
  await inbox.until('stream.open')
  const sender = new LiveSender(t, service.origin, 'build')
  sender.write('one\r\n\ntw')
  await inbox.until('data: one\n\n')
  await untilCount(service, 'build', 2)
  t.match(await producerOf(service, 'build'), { state: 'live', producerId: null, accepted: 2 })
  sender.write('o\n')
  await inbox.until('data: two\n')
  sender.end('thr\u20ac\u20ac')
  t.match(await sender.ended, {
    status: 200, headers: { 'producer-accepted': '4' }, json: { topic: 'build', reason: 'done', accepted: 4 }
  })
  t.match(
    await inbox.ended(),
    /data: thr€€\n\nid: \S+\nevent: stream.end\ndata: {"topic":"build","reason":"done"}\n\n$/
  )
  t.same(await dataOf(service, 'build'), ['one', '', 'two', 'thr€€'])
  t.match(await producerOf(service, 'build'), {
    state: 'done', accepted: 4, lease: null, remainingMs: null, message: null
  })
  t.match(await producerOf(service, 'other'), { state: 'none', holder: null, accepted: 0 })
})

t.test('NDJSON contains the events of a publish, with their JSON as it was sent', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { type: 'application/x-ndjson; charset=utf-8', method: 'PUT' })
  sender.write('{"data":{"n":1.10}}\n\n  \n')
  await untilCount(service, 'a', 1)
  sender.end('{"event":"x","data":"y","retry":5}')
  t.match(await sender.ended, { status: 200, json: { accepted: 2 } })
  const { json } = await service.call('/topics/a/events')
  t.match(json, { events: [{ data: '{"n":1.10}' }, { event: 'x', data: 'y', retry: 5 }], isClosed: true })
})

t.test('names and data of another server\'s event stream are kept; its ids, comments, retry and stream.* events are not', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { type: 'text/event-stream' })
  sender.write(
    '\uFEFFevent:token\ndata: a\ndata:  b\nid: 7\nretry: 9\n: comment\n\nevent: stream.open\ndata\n\nevent: ' +
      'alone\n\ndat'
  )
  sender.write('a\n\n: heartbeat\n\ndatabase: x\nda')
  sender.write('ta: cr\r\rdata: cr lf\r\n\r\nda')
  sender.end('ta: never complete\n')
  t.match(await sender.ended, { status: 200, json: { accepted: 4 } })
  const { json } = await service.call('/topics/a/events')
  t.match(json, {
    events: [
      { event: 'token', data: 'a\n b', id: /-1$/ }, { data: '', id: /-2$/ }, { data: 'cr' }, { data: 'cr lf' }
    ]
  })
  t.notOk(Object.hasOwn((json as { events: object[] }).events[1]!, 'event'))
})

t.test('a compressed body is published as it is decompressed', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { headers: { 'content-encoding': 'gzip' } })
  sender.end(gzipSync('one\ntwo\n') as unknown as string)
  t.match(await sender.ended, { status: 200, json: { accepted: 2 } })
  t.same(await dataOf(service, 'a'), ['one', 'two'])
})

t.test('a body of another type is rejected and takes no topic', async t => {
  const service = await TestService.start(t)
  for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/html']) {
    const sender = new LiveSender(t, service.origin, 'a', { type })
    sender.write('{"data":1}\n')
    t.match(await sender.ended, {
      status: 415,
      json: {
        code: 'SERVICE_BAD_MEDIA_TYPE', message: /must be application\/x-ndjson, text\/plain, text\/event-stream, saw/
      }
    })
  }
  t.match(await service.call('/topics/a/producer', { method: 'POST' }), {
    status: 415, json: { message: /saw "none"/ }
  })
  t.match(await producerOf(service, 'a'), { state: 'none' })
})

t.test('an error names what is malformed in the request', async t => {
  const service = await TestService.start(t)
  const cases = [
    ['?what=ever', {}, 'SERVICE_BAD_QUERY', /"what" must be one of takeOver, leaseMs, ttlMs/],
    ['?leaseMs=99', {}, 'SERVICE_BAD_QUERY', /"leaseMs" must be an integer from 100 to 3600000/],
    ['?ttlMs=29999', {}, 'SERVICE_BAD_QUERY', /"ttlMs" must be at least leaseMs \(30000\), saw 29999/],
    ['?takeOver=1', {}, 'SERVICE_BAD_QUERY', /"takeOver" must be true or false/],
    ['?leaseMs=x', {}, 'SERVICE_BAD_QUERY', /"leaseMs"/],
    [
      '',
      { 'producer-id': 'a b' },
      'SERVICE_BAD_VALUE',
      /header "producer-id" must be 1 to 100 characters of A-Z a-z 0-9 \._~-, saw "a b"/
    ],
    [
      '',
      { 'producer-id': 'a', 'producer-after': '-1' },
      'SERVICE_BAD_VALUE',
      /header "producer-after" must be an integer from 0/
    ],
    ['', { 'producer-after': '1' }, 'SERVICE_BAD_VALUE', /header "producer-after" must be sent with Producer-Id/]
  ] as const
  for (const [query, headers, code, message] of cases) {
    const sender = new LiveSender(t, service.origin, 'a', { query, headers })
    sender.end('x\n')
    t.match(await sender.ended, { status: 400, json: { code, message } }, `${query} ${JSON.stringify(headers)}`)
  }
  t.match(await service.call('/topics/no topic/producer'), { status: 400, json: { code: 'TOPICS_BAD_TOPIC' } })
  t.match(await producerOf(service, 'a'), { state: 'none' })
})

t.test('a line that is too long is an error with the limit and the number of accepted lines; the lines before it are published, and the producer can continue', async t => {
  const service = await TestService.start(t, { MAX_EVENT_BYTES: '1024' })
  const long = 'x'.repeat(1_026)
  for (const [topic, type, lines, last] of [
    ['text', 'text/plain', 'one\n', long],
    ['sse', 'text/event-stream', 'data: one\n\n', `data: ${long}`],
    ['sse-lines', 'text/event-stream', 'data: one\n\n', 'data: 1234567890\n'.repeat(200)]
  ] as const) {
    const sender = new LiveSender(t, service.origin, topic, { type, headers: { 'producer-id': 'p' } })
    sender.write(lines)
    await untilCount(service, topic, 1)
    sender.write(last)
    const { status, json, headers } = await sender.ended
    t.match({ status, json }, {
      status: 413,
      json: {
        code: 'SERVICE_LINE_TOO_LONG',
        message: /at most 1024 bytes \(MAX_EVENT_BYTES\), saw more; the log has 1 event of this producer/
      }
    }, topic)
    t.equal(headers['producer-accepted'], '1')
    t.match(await producerOf(service, topic), { state: 'live', producerId: 'p', accepted: 1 })
  }
  const again = new LiveSender(t, service.origin, 'text', { headers: { 'producer-id': 'p', 'producer-after': '1' } })
  again.end('two\n')
  t.match(await again.ended, { status: 200, json: { accepted: 2 } })
  t.same(await dataOf(service, 'text'), ['one', 'two'])
  const event = new LiveSender(t, service.origin, 'event')
  event.end(`${'x'.repeat(1_020)}\n`)
  t.match(await event.ended, {
    status: 413, json: { code: 'TOPICS_EVENT_TOO_LARGE', message: /on line 1: must be at most 1024/ }
  })
})

t.test('a line of NDJSON may be as long as a body', async t => {
  const service = await TestService.start(t, { MAX_EVENT_BYTES: '1024', MAX_BODY_BYTES: '4096' })
  const sender = new LiveSender(t, service.origin, 'a', {
    type: 'application/x-ndjson', headers: { 'producer-id': 'p' }
  })
  sender.write('{"data":1}\n')
  await untilCount(service, 'a', 1)
  sender.write(`{"data":"${'x'.repeat(4_096)}`)
  t.match(await sender.ended, {
    status: 413,
    headers: { 'producer-accepted': '1' },
    json: { code: 'SERVICE_LINE_TOO_LONG', message: /at most 4096 bytes \(MAX_BODY_BYTES\)/ }
  })
  t.match(await producerOf(service, 'a'), { state: 'live', accepted: 1 })
})

t.test('without a Producer-Id an invalid line cannot be corrected: the topic ends as failed, and readers receive the reason', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { type: 'application/x-ndjson' })
  sender.write('{"data":1}\n{"date":2}\n')
  t.match(await sender.ended, {
    status: 400,
    json: { code: 'TOPICS_BAD_EVENT', message: /on line 2: field "date" is unknown.*; the log has 1 event of/ }
  })
  t.match(await producerOf(service, 'a'), { state: 'failed', message: /on line 2/, accepted: 1 })
  const bytes = new LiveSender(t, service.origin, 'b')
  bytes.write(Buffer.from([0x61, 0x0a, 0xff, 0x0a]))
  t.match(await bytes.ended, {
    status: 400, json: { code: 'SERVICE_BAD_LINE', message: /^line 2 must be UTF-8, saw other bytes; / }
  })
  t.same(await dataOf(service, 'b'), ['a'])
})

t.test('after an interruption the same Producer-Id continues, and nothing is lost or repeated, wherever its body starts', async t => {
  const service = await TestService.start(t)
  const headers = { 'producer-id': 'p' }
  const first = new LiveSender(t, service.origin, 'a', { headers })
  first.write('1\n2\n3\nhal')
  await untilCount(service, 'a', 3)
  await first.break()
  t.match(await producerOf(service, 'a'), { state: 'live', producerId: 'p', accepted: 3 })
  const missing = new LiveSender(t, service.origin, 'a', { headers: { ...headers, 'producer-after': '4' } })
  missing.write('5\n')
  t.match(await missing.ended, { status: 409, json: { code: 'TOPICS_EVENTS_MISSING', message: /has 3 events/ } })
  const whole = new LiveSender(t, service.origin, 'a', { headers })
  whole.write('1\n2\n3\nhalf\n')
  await untilCount(service, 'a', 4)
  await whole.break()
  const rest = new LiveSender(t, service.origin, 'a', { headers: { ...headers, 'producer-after': '3' } })
  rest.end('half\n5\n')
  t.match(await rest.ended, { status: 200, json: { reason: 'done', accepted: 5 } })
  t.same(await dataOf(service, 'a'), ['1', '2', '3', 'half', '5'])
  const late = new LiveSender(t, service.origin, 'a', { headers })
  late.end('1\n')
  t.match(await late.ended, { status: 409, json: { code: 'TOPICS_CLOSED' } })
})

t.test('a Producer-Id that continues on another topic is rejected, and that topic is not changed', async t => {
  const service = await TestService.start(t)
  const first = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'p' } })
  first.write('1\n')
  await untilCount(service, 'a', 1)
  const other = new LiveSender(t, service.origin, 'b', { headers: { 'producer-id': 'p', 'producer-after': '1' } })
  other.write('2\n')
  t.match(await other.ended, {
    status: 409,
    json: {
      code: 'TOPICS_EVENTS_MISSING', message: /topic "b" has 0 events of this producer.*check the name of the topic/
    }
  })
  t.match(await producerOf(service, 'b'), { state: 'none' })
  first.end()
  t.match(await first.ended, { status: 200, json: { accepted: 1 } })
})

t.test('the same Producer-Id on two topics is two producers, and a stop with the lease of one topic does not affect the other', async t => {
  const service = await TestService.start(t)
  const headers = { 'producer-id': 'p' }
  const one = new LiveSender(t, service.origin, 'a', { headers })
  one.write('1\n')
  await untilCount(service, 'a', 1)
  const two = new LiveSender(t, service.origin, 'b', { headers })
  two.write('2\n')
  await untilCount(service, 'b', 1)
  const { lease } = await producerOf(service, 'a') as { lease: number }
  for (const topic of ['b', 'unknown']) {
    t.match(await service.call(`/topics/${topic}/stop`, { method: 'POST', body: { lease } }), {
      status: 200, json: { stopped: false }
    })
    t.match(await producerOf(service, topic), { state: topic === 'b' ? 'live' : 'none' })
  }
  t.match(await service.call('/topics/b/stop', { method: 'POST' }), { json: { stopped: true } })
  t.match(await two.ended, { status: 409, json: { message: /closed as "stopped"/ } })
  one.end('3\n')
  t.match(await one.ended, { status: 200, json: { reason: 'done', accepted: 2 } })
  t.same(await dataOf(service, 'a'), ['1', '3'])
})

t.test('a second producer is rejected with the name of the first one, or takes over if it asks to', async t => {
  const service = await TestService.start(t)
  const first = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'one' } })
  first.write('1\n')
  await untilCount(service, 'a', 1)
  const second = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'two' } })
  second.write('2\n')
  t.match(await second.ended, { status: 409, json: { code: 'TOPICS_PRODUCER_EXISTS', message: /"id=one"/ } })
  const third = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'two' }, query: '?takeOver=true' })
  third.write('3\n')
  t.match(await first.ended, {
    status: 409, json: { code: 'SERVICE_PRODUCER_ENDED', message: /another producer has it; the log has 1 event of/ }
  })
  third.end()
  t.match(await third.ended, { status: 200, json: { accepted: 1 } })
  t.same(await dataOf(service, 'a'), ['1', '3'])
})

t.test('the same Producer-Id on a second connection supersedes the first one', async t => {
  const service = await TestService.start(t)
  const headers = { 'producer-id': 'p' }
  const first = new LiveSender(t, service.origin, 'a', { headers })
  first.write('1\n')
  await untilCount(service, 'a', 1)
  const second = new LiveSender(t, service.origin, 'a', { headers })
  t.match(await first.ended, { status: 409, json: { code: 'SERVICE_PRODUCER_ENDED' } })
  first.write('late\n')
  second.end('1\n2\n')
  t.match(await second.ended, { status: 200, json: { accepted: 2 } })
  t.same(await dataOf(service, 'a'), ['1', '2'])
})

t.test('without a Producer-Id an interrupted connection ends the topic as lost at once; with one when the lease expires', async t => {
  const service = await TestService.start(t)
  const anonymous = new LiveSender(t, service.origin, 'a')
  anonymous.write('1\n')
  await untilCount(service, 'a', 1)
  await anonymous.break()
  await until(async () => (await producerOf(service, 'a')).state === 'lost')
  const { inbox } = await open(t, `${service.origin}/events?topic=b`)
  const known = new LiveSender(t, service.origin, 'b', { headers: { 'producer-id': 'p' }, query: '?leaseMs=1500' })
  known.write('1\n')
  await untilCount(service, 'b', 1)
  await known.break()
  t.match(await inbox.ended(), '{"topic":"b","reason":"lost"}')
})

t.test('a stop ends the producer and its sender gets the result; a stale stop does nothing and says so', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a')
  sender.write('1\n')
  await untilCount(service, 'a', 1)
  const { lease } = await producerOf(service, 'a') as { lease: number }
  const stop = async (body?: object) => service.call('/topics/a/stop', { method: 'POST', ...body && { body } })
  t.match(await stop({ lease: lease - 1 }), { status: 200, json: { stopped: false } })
  t.match(await stop({ lease: 'x' }), {
    status: 400, json: { code: 'SERVICE_BAD_VALUE', message: /"lease" must be the lease of the producer/ }
  })
  t.match(await stop({ leese: 1 }), { status: 400, json: { code: 'SERVICE_BAD_VALUE' } })
  t.match(await producerOf(service, 'a'), { state: 'live' })
  t.match(await stop({ lease }), { status: 200, json: { stopped: true } })
  t.match(await sender.ended, {
    status: 409, json: { code: 'SERVICE_PRODUCER_ENDED', message: /closed as "stopped"; the log has 1 event of/ }
  })
  t.match(await stop(), { status: 200, json: { stopped: false } })
  t.match(await producerOf(service, 'a'), { state: 'stopped' })
})

t.test('a live body outlasts the timeouts of requests and of silent connections; a sender that is silent for too long is cut off', async t => {
  const service = await TestService.start(t, { HEARTBEAT_MS: '100' }, {
    requestMs: 100, headMs: 100, checkMs: 20, silentMs: 4_000
  })
  const ordinary = http.request(`${service.origin}/topics/x/events`, {
    method: 'POST', headers: { 'content-type': 'text/plain' }
  })
  ordinary.on('error', () => {})
  const sender = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'p' } })
  sender.write('1\n')
  ordinary.write('x')
  const [{ statusCode }] = await once(ordinary, 'response') as [http.IncomingMessage]
  t.equal(statusCode, 408, 'a normal request')
  await new Promise(resolve => { setTimeout(resolve, 700) })
  sender.write('2\n')
  await untilCount(service, 'a', 2)
  t.match(await sender.ended, {
    status: 408,
    headers: { 'producer-accepted': '2' },
    json: { code: 'SERVICE_PRODUCER_SILENT', message: /sent nothing for 4000 ms; the log has 2 events/ }
  })
  t.match(await producerOf(service, 'a'), { state: 'live' })
})

t.test('only clients that may publish to a topic may produce, look and stop, and a body ends with its credentials', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const claims = (publish: string[], expiresInS = 3_600) =>
    sign({ topics: { subscribe: ['*'], publish } }, { expiresInS })
  const foreign = { authorization: `Bearer ${await claims(['other'])}` }
  const sender = new LiveSender(t, service.origin, 'a', { headers: foreign })
  t.match(await sender.ended, { status: 403 })
  t.match(await service.call('/topics/a/producer', { headers: foreign }), { status: 403 })
  t.match(await service.call('/topics/a/stop', { method: 'POST', headers: foreign }), { status: 403 })
  t.match(await new LiveSender(t, service.origin, 'a').ended, { status: 401 })
  const short = new LiveSender(t, service.origin, 'a', {
    headers: { authorization: `Bearer ${await claims(['a'], 2)}`, 'producer-id': 'p' }
  })
  short.write('1\n')
  t.match(await short.ended, {
    status: 401, headers: { 'producer-accepted': '1' }, json: { code: 'SERVICE_PRODUCER_EXPIRED' }
  })
  const next = new LiveSender(t, service.origin, 'a', {
    headers: { authorization: `Bearer ${await claims(['a'])}`, 'producer-id': 'p', 'producer-after': '1' }
  })
  next.end('2\n')
  t.match(await next.ended, { status: 200, json: { accepted: 2 } })
})

t.test('over HTTP/2 lines are received as they are written, and a stream that is reset is an interruption, not an end', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, { TLS_CERT: cert, TLS_KEY: key }, { requestMs: 200, checkMs: 20 })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  const produce = (headers: Record<string, string> = {}) => {
    const stream = session.request({
      ':method': 'POST', ':path': '/topics/a/producer', 'content-type': 'text/plain', 'producer-id': 'p', ...headers
    })
    stream.on('error', () => {})
    return stream
  }
  const state = () => service.app.topics.producer('a')
  const first = produce()
  first.write('1\n2\n')
  await until(async () => (await state()).accepted === 2)
  await new Promise(resolve => { setTimeout(resolve, 400) })
  t.match(await state(), { state: 'live', accepted: 2 }, 'the time limit of a request has passed')
  first.close(8)
  const again = produce({ 'producer-after': '2' })
  again.write('3\n')
  await until(async () => (await state()).accepted === 3)
  t.match(await state(), { state: 'live' })
  again.end('4\n')
  const [answer] = await once(again, 'response') as [Record<string, unknown>]
  t.match(answer, { ':status': 200, 'producer-accepted': '4' })
  const stopped = session.request({ ':method': 'PUT', ':path': '/topics/b/producer', 'content-type': 'text/plain' })
  stopped.write('1\n')
  await until(async () => (await service.app.topics.producer('b')).accepted === 1)
  await service.app.topics.stop('b')
  const [refused] = await once(stopped, 'response') as [Record<string, unknown>]
  t.equal(refused[':status'], 409)
  stopped.resume()
  await once(stopped, 'close')
})

t.test('a slow log slows the sender down, and pending data counts as bodies', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '300000' })
  const append = MemoryLog.prototype.append
  t.teardown(() => { MemoryLog.prototype.append = append })
  let release = (): void => {}
  const held = new Promise<void>(resolve => { release = resolve })
  MemoryLog.prototype.append = async function (...args) {
    await held
    return append.apply(this, args)
  }
  const sender = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'p' } })
  const line = `${'x'.repeat(999)}\n`
  let sent = 0
  const sending = new AbortController()
  void (async () => {
    while (!sending.signal.aborted) {
      sent++
      if (!sender.request.write(line)) {
        await Promise.race([
          once(sender.request, 'drain'), new Promise(resolve => sender.request.once('close', resolve))
        ])
      }
    }
  })()
  let before = -1
  await until(async () => {
    const isStill = sent === before
    before = sent
    await new Promise(resolve => { setTimeout(resolve, 300) })
    return isStill
  })
  t.ok(sent < 20_000, `${sent} lines of 1 KB`)
  const publish = () => service.publish('other', `{"data":"${'x'.repeat(200_000)}"}`, { type: 'application/x-ndjson' })
  t.match(await publish(), { status: 503, json: { code: 'SERVICE_BUSY' } })
  sending.abort()
  release()
  sender.end()
  const { status, json } = await sender.ended
  t.equal(status, 200)
  t.equal(json.accepted, sent)
  t.equal((await publish()).status, 201)
})

t.test('a live body for which there is no memory is interrupted, and can continue when there is', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '300000' })
  const upload = http.request(`${service.origin}/topics/x/events`, {
    method: 'POST', headers: { 'content-type': 'application/x-ndjson' }
  })
  upload.on('error', () => {})
  t.teardown(() => { upload.destroy() })
  const body = `{"data":"${'x'.repeat(500)}"}\n`.repeat(570)
  upload.write(body)
  const line = `${'y'.repeat(999)}\n`
  let topic = 0
  const send = () => {
    const sender = new LiveSender(t, service.origin, `a${topic}`, { headers: { 'producer-id': 'p' } })
    sender.end(line.repeat(100))
    return sender.ended
  }
  // The upload arrives some time after it was written.
  let answer = await send()
  while (answer.status === 200) {
    topic++
    answer = await send()
  }
  t.match(answer, { status: 503, json: { code: 'SERVICE_BUSY' } })
  upload.destroy()
  await until(async () => (await send()).status === 200)
  t.equal((await dataOf(service, `a${topic}`)).length, 100)
})

t.test('when the service closes, its producers are asked to continue elsewhere', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'p' } })
  sender.write('1\n')
  await untilCount(service, 'a', 1)
  const closed = service.app.close()
  t.match(await sender.ended, {
    status: 503, headers: { 'producer-accepted': '1' }, json: { code: 'SERVICE_DRAINING' }
  })
  await closed
})

t.test('a sender that does not read its response is closed after a while', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { type: 'text/html' })
  t.match(await sender.ended, { status: 415 })
  const poll = setInterval(() => { sender.write('x\n') }, 100)
  t.teardown(() => clearInterval(poll))
  await once(sender.request, 'close')
})

t.test('curl sends each line when it is written, and also the event stream of another server', async t => {
  const [service, upstream] = [await TestService.start(t), await TestService.start(t)]
  const run = (script: string) => new Command('bash', ['-c', script], {})
  const url = `${service.origin}/topics/build/producer`
  const go = `${t.testdir()}/go`
  const build = run(
    `(echo compiling; while [ ! -e ${go} ]; do sleep 0.05; done; echo linking) | curl -sT - -H 'content-type: text/plain' ${url}`
  )
  await untilCount(service, 'build', 1)
  t.match(await producerOf(service, 'build'), { state: 'live', accepted: 1 })
  writeFileSync(go, '')
  t.equal(await build.exit(), 0)
  t.same(JSON.parse(build.out), { topic: 'build', reason: 'done', accepted: 2 })
  const untyped = run(`echo x | curl -sT - ${service.origin}/topics/untyped/producer`)
  await untyped.ended
  t.match(JSON.parse(untyped.out), { statusCode: 415 })

  await upstream.publish('news', { event: 'token', data: 'one' })
  const pipe = run(
    `curl -sN '${upstream.origin}/events?topic=news&last=10' | curl -sT - -H 'content-type: text/event-stream' ${service.origin}/topics/copy/producer`
  )
  await untilCount(service, 'copy', 1)
  await upstream.publish('news', { data: 'two\nlines' })
  await untilCount(service, 'copy', 2)
  await upstream.call('/topics/news/close', { method: 'POST' })
  t.equal(await pipe.exit(), 0)
  t.same(JSON.parse(pipe.out), { topic: 'copy', reason: 'done', accepted: 2 })
  const { json } = await service.call('/topics/copy/events')
  t.match(json, { events: [{ event: 'token', data: 'one' }, { data: 'two\nlines' }] })
  const file = `${t.testdir({ big: 'x'.repeat(19).concat('\n').repeat(100_000) })}/big`
  const large = run(`curl -sT ${file} -H 'content-type: text/plain' ${service.origin}/topics/large/producer`)
  t.equal(await large.exit(), 0)
  t.same(
    JSON.parse(large.out),
    { topic: 'large', reason: 'done', accepted: 100_000 },
    'more than MAX_BODY_BYTES, with Expect: 100-continue'
  )
})
