import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { onClientError } from '../../service/http/malformed-requests.ts'
import { connect, get, open } from '../support/client.ts'
import { refused, shape } from '../support/refusal.ts'
import { TestService } from '../support/service-app.ts'

// What comes to no route: bytes that are no request, requests that do not end, and what Node answers by itself. The shape of
// the refusal is that of all others.

/** The one answer in what a connection said. */
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

t.test('bytes that are no request get 400 in the shape of every refusal, and the end of the connection', async t => {
  const service = await TestService.start(t)
  const garbage = ['hello\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', 'GET /healthz HTTP/9.9\r\n\r\n', 'GARBAGE /healthz HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n', 'POST /topics/a/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n', 'GET /healthz HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \x01\r\n\r\n',
    'POST /topics/a/events HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n']
  for (const text of garbage) t.match(answerIn(await say(t, service, text)), refused(400, 'SERVICE_BAD_REQUEST', /^the request cannot be read: \w/), text)
})

t.test('headers that are too large get 431 with their limit', async t => {
  const service = await TestService.start(t)
  const told = refused(431, 'SERVICE_HEADERS_TOO_LARGE', /at most 16384 bytes together/)
  t.match(answerIn(await say(t, service, get('/healthz', { headers: `X: ${'x'.repeat(17_000)}\r\n` }))), told)
  t.match(answerIn(await say(t, service, get(`/healthz?${'x'.repeat(17_000)}`))), told)
})

// The second of them was answered with 500: its query was decoded together with what should have been a method.
t.test('the paths by which such requests are passed on internally are no paths', async t => {
  const service = await TestService.start(t)
  for (const path of ['/.unknown-method/GET', '/.unknown-method/x?%zz', '/.unreadable', '/.unreadable?x=%zz']) {
    t.match(shape(await service.call(path)), refused(404, 'SERVICE_NO_SUCH_PATH', /./), path)
  }
})

t.test('a request without Host gets 400; HTTP/1.0 needs none', async t => {
  const service = await TestService.start(t)
  const bare = (version: string): string => `GET /healthz HTTP/${version}\r\nConnection: close\r\n\r\n`
  t.match(answerIn(await say(t, service, bare('1.1'))), refused(400, 'SERVICE_BAD_REQUEST', /the header Host is missing/))
  t.match(await say(t, service, bare('1.0')), /^HTTP\/1\.1 200 OK\r\n[^]*{"status":"ok"}$/)
})

t.test('an expectation that is not met gets 417, and 100-continue is met', async t => {
  const service = await TestService.start(t)
  t.match(answerIn(await say(t, service, get('/healthz', { headers: 'Expect: cake\r\n' }))), refused(417, 'SERVICE_BAD_EXPECTATION', /expect must be 100-continue, saw "cake"/))
  const { send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', { method: 'POST', headers: 'Expect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n' }))
  await inbox.until('HTTP/1.1 100 Continue\r\n\r\n')
  send('x')
  t.match(await inbox.ended(), /HTTP\/1\.1 201 Created/)
})

t.test('a body that ends before its length gets 400', async t => {
  const service = await TestService.start(t)
  const { socket, send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', { method: 'POST', headers: 'Content-Type: application/json\r\nContent-Length: 100\r\n' }) + '{"data":1}')
  socket.end()
  const text = await inbox.ended()
  if (text !== '') t.match(answerIn(text), refused(400, 'SERVICE_BAD_REQUEST', /cannot be read/))
  t.match(await service.counts('a'), [{ count: 0 }])
})

// Fastify's own handler wrote its 400 into the middle of the stream.
t.test('garbage behind the request of a stream ends the stream, and nothing is written into it', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/events?topic=a'))
  await inbox.until('stream.open')
  send('garbage\r\n\r\n')
  t.notMatch(await inbox.ended(), /HTTP\/1\.1 400/)
})

// Taken for the answer to the publish, it would say that nothing was done.
t.test('garbage behind a publish that is under way is not answered in its place', async t => {
  const service = await TestService.start(t)
  const held = holdAppend(service)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/topics/a/events', { method: 'POST', headers: 'Content-Type: text/plain\r\nContent-Length: 1\r\n' }) + 'x')
  await held.begun
  send('garbage\r\n\r\n')
  t.equal(await inbox.ended(), '')
  held.goOn()
})

/** Makes the next publish wait: for a log that takes its time. */
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

t.test('a second request that is garbage is answered behind the first', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/healthz'))
  await inbox.until('{"status":"ok"}')
  send('garbage\r\n\r\n')
  t.match(await inbox.ended(), /^HTTP\/1\.1 200 OK[^]*HTTP\/1\.1 400 Bad Request[^]*"SERVICE_BAD_REQUEST"/)
})

t.test('a request that does not come to its end in time gets 408', async t => {
  const server = createServer({ requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 20 }, (request, response) => { request.on('end', () => response.end()).resume() })
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

t.test('an error that says nothing of itself is told as what it must be', async t => {
  const server = createServer()
  server.on('connection', socket => { onClientError(new Error('odd'), socket) }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const { inbox } = await connect(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.match(answerIn(await inbox.ended()), refused(400, 'SERVICE_BAD_REQUEST', /it is not HTTP/))
})

t.test('a client that resets its connection gets no answer, and does no harm', async t => {
  const service = await TestService.start(t)
  const { socket, send } = await connect(t, service.origin)
  const failed = once(service.app.server, 'clientError')
  send('GET /healthz HTT')
  await open(t, `${service.origin}/healthz`)
  socket.resetAndDestroy()
  await failed
  t.equal((await service.call('/healthz')).status, 200)
})
