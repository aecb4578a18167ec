import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { onClientError } from '../../../../service/http/connections/malformed-requests.ts'
import { connect, get, open } from '../../../support/clients/client.ts'
import { refused, shape } from '../../../support/refusal.ts'
import { TestService } from '../../../support/service/service-app.ts'

// Input that reaches no route: bytes that are not a request, requests that do not end, and responses that Node sends
// itself. The error responses have the same format as all others.

/** The only response in the text received on a connection. */
function answerIn (text: string): ReturnType<typeof shape> {
  const [, status, body] = /^HTTP\/1\.1 (\d{3}) [^]*?\r\n\r\n([^]*)$/.exec(text) ?? []
  const whole = /transfer-encoding: chunked/i.test(text) ? body?.split('\r\n')[1] : body
  return shape({ status: Number(status), json: JSON.parse(whole ?? ''), text, headers: new Headers() })
}

async function say (t: Test, service: TestService, text: string): Promise<string> {
  const { send, inbox } = await connect(t, service.origin)
  send(text)
  return inbox.ended()
}

t.test('bytes that are not a request get 400 in the format of every error response, and the connection is closed', async t => {
  const service = await TestService.start(t)
  const garbage = ['hello\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', 'GET /healthz HTTP/9.9\r\n\r\n', 'GARBAGE /healthz HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n',
    'POST /topics/a/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \x01\r\n\r\n',
    'POST /topics/a/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: ' +
      'chunked\r\n\r\nzz\r\n']
  for (const text of garbage) {
    t.match(
      answerIn(await say(t, service, text)),
      refused(400, 'SERVICE_BAD_REQUEST', /^the request cannot be read: \w/),
      text
    )
  }
})

// A second response followed, which a client would have taken for that of its next request.
t.test('a request that got its response before its body gets no second response when the body is malformed', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(
    'POST /topics/a/events HTTP/1.1\r\nHost: elsewhere\r\nContent-Type: text/plain\r\nTransfer-Encoding: ' +
      'chunked\r\n\r\n'
  )
  await inbox.until('FST_SSE_BAD_HOST')
  send('zz\r\n')
  const text = await inbox.ended()
  t.equal(text.match(/HTTP\/1.1 /g)?.length, 1, text)
})

function post (body: string | Buffer, { type = 'text/plain', headers = '' } = {}): string {
  return `POST /topics/a/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\n${headers}` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

// Regression: the response ended the connection. The publishes behind it were stored, but got no response.
t.test('a complete body that is invalid does not end the connection, and pipelined requests behind it get responses', async t => {
  const service = await TestService.start(t)
  const invalid = [
    post('{bad', { type: 'application/json' }),
    post('{"data":1}\n{bad', { type: 'application/x-ndjson' }),
    post('abc', { headers: 'Content-Encoding: gzip\r\n' }),
    get('/healthz', { headers: 'Expect: something\r\n' })
  ]
  for (const request of invalid) {
    const text = await say(
      t, service, post('before') + request + post('behind') + get('/healthz', { headers: 'Connection: close\r\n' })
    )
    t.same([...text.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status?.replace(/4../, '4xx')), [
      '201', '4xx', '201', '200'
    ], request)
  }
})

// The error was written into the stream; behind a publish that was still waiting for its log, it was taken for the
// response of that publish.
t.test('a malformed body behind a response that is not complete gets no response of its own', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/events?topic=a'))
  await inbox.until('stream.open')
  const headers = 'Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n'
  send(get('/topics/a/events', { method: 'POST', headers }) + 'zz\r\n')
  const text = await inbox.ended()
  t.equal(text.match(/HTTP\/1.1 /g)?.length, 1, text)
})

t.test('headers that are too large get 431 with their limit', async t => {
  const service = await TestService.start(t)
  const told = refused(431, 'SERVICE_HEADERS_TOO_LARGE', /at most 16384 bytes together/)
  t.match(answerIn(await say(t, service, get('/healthz', { headers: `X: ${'x'.repeat(17_000)}\r\n` }))), told)
  t.match(answerIn(await say(t, service, get(`/healthz?${'x'.repeat(17_000)}`))), told)
})

// Regression: the second of them got 500: its query was decoded together with what should have been a method.
t.test('the paths that pass such requests on internally do not exist for clients', async t => {
  const service = await TestService.start(t)
  for (const path of ['/.unknown-method/GET', '/.unknown-method/x?%zz', '/.unreadable', '/.unreadable?x=%zz']) {
    t.match(shape(await service.call(path)), refused(404, 'SERVICE_NO_SUCH_PATH', /./), path)
  }
})

t.test('a request without Host gets 400; HTTP/1.0 does not need it', async t => {
  const service = await TestService.start(t)
  const bare = (version: string): string => `GET /healthz HTTP/${version}\r\nConnection: close\r\n\r\n`
  t.match(
    answerIn(await say(t, service, bare('1.1'))),
    refused(400, 'SERVICE_BAD_REQUEST', /the header Host is missing/)
  )
  t.match(await say(t, service, bare('1.0')), /^HTTP\/1\.1 200 OK\r\n[^]*{"status":"ok"}$/)
})

// Regression: the compressed bytes were published as the data of the event.
t.test('a transfer coding other than chunked gets 400, on every route', async t => {
  const service = await TestService.start(t)
  for (const path of ['/topics/a/events', '/topics/a/producer', '/topics/a/close', '/healthz']) {
    for (const coding of ['gzip, chunked', 'gzip\r\nTransfer-Encoding: chunked']) {
      const headers = `Content-Type: text/plain\r\nConnection: close\r\nTransfer-Encoding: ${coding}\r\n`
      const method = path === '/healthz' ? 'GET' : 'POST'
      t.match(
        answerIn(await say(t, service, get(path, { method, headers }) + '1\r\nx\r\n0\r\n\r\n')),
        refused(400, 'SERVICE_BAD_REQUEST', /Transfer-Encoding must be chunked, saw "gzip, chunked"/),
        path
      )
    }
  }
  t.match(await service.counts('a'), [{ count: 0 }])
  const headers = 'Content-Type: text/plain\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n'
  const text = await say(t, service, get('/topics/a/events', { method: 'POST', headers }) + '1\r\nx\r\n0\r\n\r\n')
  t.match(text, /^HTTP\/1\.1 201 /)
})

t.test('an unsupported expectation gets 417, and 100-continue is supported', async t => {
  const service = await TestService.start(t)
  t.match(
    answerIn(await say(t, service, get('/healthz', { headers: 'Expect: cake\r\n' }))),
    refused(417, 'SERVICE_BAD_EXPECTATION', /expect must be 100-continue, saw "cake"/)
  )
  const { send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', {
    method: 'POST',
    headers: 'Expect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n'
  }))
  await inbox.until('HTTP/1.1 100 Continue\r\n\r\n')
  send('x')
  t.match(await inbox.ended(), /HTTP\/1\.1 201 Created/)
})

t.test('a body that ends before its length gets 400', async t => {
  const service = await TestService.start(t)
  const { socket, send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', {
    method: 'POST', headers: 'Content-Type: application/json\r\nContent-Length: 100\r\n'
  }) + '{"data":1}')
  socket.end()
  const text = await inbox.ended()
  if (text !== '') t.match(answerIn(text), refused(400, 'SERVICE_BAD_REQUEST', /cannot be read/))
  t.match(await service.counts('a'), [{ count: 0 }])
})

// Regression: Fastify's own handler wrote its 400 into the middle of the stream.
t.test('garbage after the request of a stream ends the stream, and nothing is written into it', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/events?topic=a'))
  await inbox.until('stream.open')
  send('garbage\r\n\r\n')
  t.notMatch(await inbox.ended(), /HTTP\/1\.1 400/)
})

// Mistaken for the response to the publish, it would say that nothing was published.
t.test('garbage after a publish in progress gets no response in its place', async t => {
  const service = await TestService.start(t)
  const held = holdAppend(service)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', { method: 'POST', headers: 'Content-Type: text/plain\r\nContent-Length: 1\r\n' }) + 'x')
  await held.begun
  send('garbage\r\n\r\n')
  t.equal(await inbox.ended(), '')
  held.goOn()
})

/** Makes the next publish wait, as with a slow log. */
function holdAppend (service: TestService): { begun: Promise<void>, goOn: () => void } {
  const { topics } = service.app
  const publish = topics.publish.bind(topics)
  let goOn = (): void => {}
  const gate = new Promise<void>(resolve => { goOn = resolve })
  const begun = new Promise<void>(resolve => {
    topics.publish = async (...args) => {
      resolve()
      await gate
      return publish(...args)
    }
  })
  return { begun, goOn }
}

t.test('a second request that is garbage gets its response after the first', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/healthz'))
  await inbox.until('{"status":"ok"}')
  send('garbage\r\n\r\n')
  t.match(await inbox.ended(), /^HTTP\/1\.1 200 OK[^]*HTTP\/1\.1 400 Bad Request[^]*"SERVICE_BAD_REQUEST"/)
})

t.test('a request that is not complete in time gets 408', async t => {
  const server = createServer(
    { requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 20 },
    (request, response) => { request.on('end', () => response.end()).resume() }
  )
  server.on('clientError', onClientError)
  server.listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  for (const text of ['GET / HTTP/1.1\r\nHost: x\r\n', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx']) {
    const { send, inbox } = await connect(t, origin)
    send(text)
    t.match(answerIn(await inbox.ended()), refused(408, 'SERVICE_TIMEOUT', /was not complete in time/))
  }
})

t.test('an error without a code is reported as a malformed request', async t => {
  const server = createServer()
  server.on('connection', socket => { onClientError(new Error('odd'), socket) }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const { inbox } = await connect(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.match(answerIn(await inbox.ended()), refused(400, 'SERVICE_BAD_REQUEST', /it is not HTTP/))
})

t.test('a client that resets its connection gets no response, and does no harm', async t => {
  const service = await TestService.start(t)
  const { socket, send } = await connect(t, service.origin)
  const failed = once(service.app.server, 'clientError')
  send('GET /healthz HTT')
  await open(t, `${service.origin}/healthz`)
  socket.resetAndDestroy()
  await failed
  t.equal((await service.call('/healthz')).status, 200)
})
