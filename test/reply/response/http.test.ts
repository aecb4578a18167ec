import t from 'tap'
import { once } from 'node:events'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SseStream } from '../../../plugin/index.ts'
import { readLastEventId } from '../../../plugin/reply/request/negotiate.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, fetchAll, get, open } from '../../support/clients/client.ts'

const never = new Promise<never>(() => {})

/** A stream that sends hello and then stays open. */
async function * hello () {
  yield 'hello'
  await never
}

const HEAD = ':\nretry: 3000\n'

t.test('H01 headers and preamble are sent at once, before the source has any data', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () { await never }))
  const { statusCode, headers, inbox, close } = await open(t, await listen(app))
  t.equal(await inbox.until(HEAD), HEAD)
  t.equal(statusCode, 200)
  t.match(headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'transfer-encoding': 'chunked'
  })
  t.notOk('content-length' in headers || 'etag' in headers)
  close()
})

t.test('H30 all headers, including cookies, are sent before the first byte, and none that is wrong for a stream', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => {
    reply.header('set-cookie', ['a=1', 'b=2'])
      .header('content-length', '5')
      .header('etag', '"x"')
      .header('vary', 'Origin')
    return reply.sse({ data: 'a' })
  })
  app.get('/own', (request, reply) => reply.header('cache-control', 'no-store').sse({ data: 'a' }))
  const origin = await listen(app)
  const { send, inbox } = await connect(t, origin)
  send(get('/'))
  const [head = '', body] = (await inbox.until('data: a')).split('\r\n\r\n', 2)
  t.match(body, /^[0-9a-f]+\r\n:\n/, 'the body starts with the preamble')
  const headers = head.split('\r\n').slice(1).map(line => line.toLowerCase())
  for (const line of [
    'content-type: text/event-stream', 'cache-control: no-cache, no-transform', 'x-accel-buffering: no',
    'x-content-type-options: nosniff',
    'vary: origin, accept-encoding', 'set-cookie: a=1', 'set-cookie: b=2'
  ]) t.ok(headers.includes(line), line)
  t.notOk(headers.some(line => /^(content-length|etag):/.test(line)))
  t.match(
    (await fetchAll(t, `${origin}/own`)).headers,
    { 'cache-control': 'no-store' },
    'headers set by the application are kept'
  )
})

t.test('the Accept header decides between 200 and 406, and a rejected source is not started', async t => {
  const cases: [string | undefined, number][] = [
    [undefined, 200], ['*/*', 200], ['text/*', 200], ['text/event-stream', 200], ['TEXT/Event-Stream', 200],
    ['text/html, text/event-stream;q=0.1', 200], ['text/html, */*;q=0.1', 200],
    ['text/html', 406], ['text/event-stream;q=0', 406], ['text/event-stream;q=0, */*', 406], ['*/*;q=0', 406],
    ['application/json', 406]
  ]
  let starts = 0
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(() => { starts++; return ['a'] }))
  app.get('/any', (request, reply) => reply.sse('a', { negotiate: false }))
  app.get('/asked', async request => request.acceptsSse)
  const url = await listen(app)
  for (const [accept, status] of cases) {
    const options = { headers: accept === undefined ? {} : { accept } }
    starts = 0
    const { statusCode, text, headers } = await fetchAll(t, url, options)
    t.equal(statusCode, status, String(accept))
    t.equal(starts, status === 200 ? 1 : 0)
    if (status === 406) t.match(JSON.parse(text), { code: 'FST_SSE_NOT_ACCEPTABLE', message: accept ?? '' })
    if (status === 406) t.match(headers['content-type'], 'application/json')
    t.equal((await fetchAll(t, `${url}/asked`, options)).text, String(status === 200))
    t.equal((await fetchAll(t, `${url}/any`, options)).statusCode, 200, 'negotiate: false')
  }
})

t.test('H04 HEAD returns the headers of the stream and never starts its source', async t => {
  let starts = 0
  const reasons: string[] = []
  const start = () => { starts++; return ['a'] }
  const app = await buildApp(t, { onClose: reason => reasons.push(reason) })
  app.get('/auto', (request, reply) => reply.sse(start))
  app.get('/manual', (request, reply) => {
    const stream = reply.sse()
    t.equal(stream.isOpen, request.method === 'GET')
    return reply
  })
  app.head('/own', (request, reply) => reply.sse(start))
  app.head('/trailer', (request, reply) => reply.trailer('x-a', async () => 'a').sse(start))
  const url = await listen(app)
  for (const path of ['/auto', '/manual', '/own', '/trailer']) {
    const { statusCode, headers, text } = await fetchAll(t, url + path, { method: 'HEAD' })
    t.match({ statusCode, text }, { statusCode: 200, text: '' }, path)
    t.match(headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' })
  }
  t.equal(starts, 0)
  t.same(reasons, ['end', 'end', 'end', 'end'])
})

t.test('H09 over HTTP/1.0 the body is not chunked and lasts until the connection closes', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(['a', 'b']))
  const { send, inbox } = await connect(t, await listen(app))
  send(get('/', { version: '1.0' }))
  const [head, body] = (await inbox.ended()).split('\r\n\r\n')
  t.match(head, /^HTTP\/1\.1 200 OK/)
  t.match(head, /connection: close/i)
  t.notMatch(head, /transfer-encoding/i)
  t.equal(body, `${HEAD}data: a\n\ndata: b\n\n`)
})

t.test('H10 a pipelined request waits behind a stream: its source starts when its turn comes', async t => {
  const started: string[] = []
  const app = await buildApp(t)
  let endFirst = (): void => {}
  app.get('/first', (request, reply) => { reply.sse(stream => { endFirst = () => stream.end() }) })
  app.get('/second', (request, reply) => {
    reply.sse(function * () { started.push(request.url); yield 'second' })
    setImmediate(() => setImmediate(() => { app.server.emit('second is waiting') }))
  })
  const { send, inbox } = await connect(t, await listen(app))
  const isWaiting = once(app.server, 'second is waiting')
  send(get('/first') + get('/second'))
  await Promise.all([isWaiting, inbox.until('retry: 3000')])
  t.same(started, [])
  endFirst()
  await inbox.until('data: second')
  t.same(started, ['/second'])
})

// Regression: when a connection closes, Node closes only the response whose turn it is, not those behind it: their
// streams stayed open indefinitely, with send() pending and nobody to read. Now they close with their connection.
t.test('H10 streams that wait behind another end when their connection closes', async t => {
  const app = await buildApp(t)
  const reasons: Promise<unknown>[] = []
  app.get('/', (request, reply) => { reasons.push(reply.sse().closed) })
  app.get('/last', (request, reply) => {
    const stream = reply.sse(undefined, { highWaterMarkBytes: 1 })
    reasons.push(stream.closed, stream.send({ data: 'a' }), stream.send({ data: 'b' }))
    app.server.emit('all are waiting')
  })
  const { send, socket } = await connect(t, await listen(app))
  const areWaiting = once(app.server, 'all are waiting')
  send(get('/') + get('/').repeat(20) + get('/last'))
  await areWaiting
  socket.destroy()
  t.same(await Promise.all(reasons), [...Array<string>(22).fill('client'), true, false])
})

t.test('H10 a handler that runs late, after the connection of its waiting request was closed, finds its stream closed', async t => {
  const app = await buildApp(t)
  const closes: string[] = []
  app.get('/', (request, reply) => { reply.sse() })
  app.get('/late', async (request, reply) => {
    app.server.emit('late')
    await once(request.raw.socket, 'close')
    const stream = reply.sse(undefined, { onClose: reason => closes.push(reason) })
    t.same([
      stream.isOpen, stream.closeReason, await stream.closed, stream.push({ data: 1 })
    ], [false, 'client', 'client', false])
    app.server.emit('done')
    return reply
  })
  const { send, socket } = await connect(t, await listen(app))
  const [late, done] = [once(app.server, 'late'), once(app.server, 'done')]
  send(get('/') + get('/late'))
  await late
  socket.destroy()
  await done
  t.same(closes, ['client'])
})

t.test('H11 an error response and then a stream, pipelined, are sent in order', async t => {
  const app = await buildApp(t)
  app.get('/no', (request, reply) => reply.code(401).send({ no: true }))
  app.get('/', (request, reply) => reply.sse(hello()))
  const { send, inbox } = await connect(t, await listen(app))
  send(get('/no') + get('/'))
  t.match(await inbox.until('data: hello'), /^HTTP\/1\.1 401 [^]*\{"no":true\}HTTP\/1\.1 200 OK/)
})

t.test('H12 after the end of a stream its connection can be used again', async t => {
  const app = await buildApp(t, {}, { keepAliveTimeout: 10_000 })
  app.get('/', (request, reply) => reply.sse('a'))
  const { send, inbox } = await connect(t, await listen(app))
  send(get('/'))
  await inbox.until('\r\n0\r\n\r\n')
  send(get('/'))
  await inbox.until(text => text.split('\r\n0\r\n\r\n').length === 3)
  t.equal(inbox.isOver, false)
})

t.test('H13 a client that closes its side of the connection right after the request ends the stream', async t => {
  const app = await buildApp(t)
  const closed = new Promise(resolve => {
    app.get('/', (request, reply) => reply.sse(hello(), { onClose: resolve }))
  })
  const { socket } = await connect(t, await listen(app))
  socket.end(get('/'))
  t.equal(await closed, 'client')
})

t.test('H14 a stream outlives requestTimeout and handlerTimeout', async t => {
  const timeouts = { requestTimeout: 1_000, handlerTimeout: 1_000, http: { connectionsCheckingInterval: 20 } }
  const app = await buildApp(t, {}, timeouts)
  const stream = new Promise<SseStream>(resolve => app.get('/', (request, reply) => { resolve(reply.sse()) }))
  app.get('/never', () => never)
  const origin = await listen(app)
  const { inbox } = await open(t, origin)
  const half = await connect(t, origin)
  half.send('GET /never HTTP/1.1\r\nHost: localhost\r\n')
  t.equal((await fetchAll(t, `${origin}/never`)).statusCode, 503, 'handlerTimeout has passed')
  t.match(await half.inbox.ended(), /^HTTP\/1\.1 408 /, 'requestTimeout has passed')
  ;(await stream).push({ data: 'still here' })
  await inbox.until('data: still here\n\n')
})

t.test('a handler timeout before the first byte gets an error response, and ends the stream', async t => {
  const app = await buildApp(t, {}, { handlerTimeout: 50 })
  const closed = new Promise(resolve => {
    app.get('/', (request, reply) => reply.sse({ open: () => never }, { onClose: resolve }))
  })
  const { statusCode, text } = await fetchAll(t, await listen(app))
  t.equal(statusCode, 503)
  t.match(text, 'FST_ERR_HANDLER_TIMEOUT')
  t.equal(await closed, 'error')
})

t.test('H16 hooks, cookies and CORS headers of the application reach the client', async t => {
  const app = await buildApp(t)
  await app.register(cookie, { secret: 'a secret of at least thirty-two bytes' })
  await app.register(cors, { origin: ['https://app.example'], credentials: true })
  app.addHook('onSend', async (request, reply, payload) => {
    await new Promise(resolve => setImmediate(resolve))
    reply.header('x-on-send', 'yes')
    return payload
  })
  app.get('/', (
    request,
    reply
  ) => reply.setCookie('session', '1', { httpOnly: true }).setCookie('other', '2', { signed: true })
    .header('etag', '"x"').header('content-length', '5').header('cache-control', 'no-store').header(
      'vary',
      'Cookie'
    ).code(202).sse('a'))
  const { statusCode, headers, text } = await fetchAll(t, await listen(app), {
    headers: { origin: 'https://app.example' }
  })
  t.match(headers, {
    'x-on-send': 'yes',
    'access-control-allow-origin': 'https://app.example',
    'access-control-allow-credentials': 'true',
    'cache-control': 'no-store'
  })
  t.match(headers['set-cookie'], ['session=1; HttpOnly', /^other=2\./])
  t.notOk('etag' in headers || 'content-length' in headers)
  t.equal(statusCode, 202)
  t.equal(text, `${HEAD}data: a\n\n`)
})

t.test('a status that allows no stream is rejected', async t => {
  const app = await buildApp(t)
  app.get(
    '/:code',
    (request: FastifyRequest<{ Params: { code: number } }>, reply) => reply.code(request.params.code).sse('a')
  )
  const url = await listen(app)
  for (const code of [204, 205, 302, 404]) {
    const { text } = await fetchAll(t, `${url}/${code}`)
    t.match(JSON.parse(text), { code: 'FST_SSE_BAD_STATUS', message: new RegExp(`saw ${code}$`) })
  }
})

t.test('a POST can be streamed to like a GET', async t => {
  const app = await buildApp(t)
  app.post('/', (request, reply) => reply.sse(async function * () {
    yield { data: request.body }
    await never
  }))
  const { inbox } = await open(t, await listen(app), {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}'
  })
  await inbox.until('data: {"a":1}')
  t.equal(inbox.isOver, false)
})

t.test('the response to a source that has nothing for this client is 204, with cookies and without a content type', async t => {
  const reasons: string[] = []
  const app = await buildApp(t, { onClose: reason => reasons.push(reason) })
  app.get('/', (request, reply) => reply.header('set-cookie', 'a=1').sse({ open: async () => undefined }))
  app.get('/trailer', (request, reply) => reply.trailer('x-a', async () => 'a').sse({ open: () => undefined }))
  const url = await listen(app)
  for (const path of ['/', '/trailer']) {
    const { statusCode, headers, text } = await fetchAll(t, url + path)
    t.match({ statusCode, text }, { statusCode: 204, text: '' }, path)
    for (const name of ['content-type', 'transfer-encoding', 'trailer']) t.notOk(name in headers, name)
    if (path === '/') t.same(headers['set-cookie'], ['a=1'])
  }
  t.same(reasons, ['end', 'end'])
})

t.test('a temporary rejection is a 200 with a retry for a client that requests a stream, and its status for others', async t => {
  const app = await buildApp(t)
  const refusal = (statusCode: number): Error => Object.assign(new Error('not now'), { statusCode })
  app.get('/open/:code', (request: FastifyRequest<{ Params: { code: number } }>, reply: FastifyReply) => reply.sse({
    open: async () => { throw refusal(Number(request.params.code)) }
  }))
  app.get('/function/:code', (request: FastifyRequest<{ Params: { code: number } }>, reply: FastifyReply) => reply.sse(
    async () => { throw refusal(Number(request.params.code)) }
  ))
  const url = await listen(app)
  for (const path of ['/open', '/function']) {
    for (const code of [429, 503]) {
      const asked = await fetchAll(t, `${url}${path}/${code}`)
      t.match(asked, { statusCode: 200, headers: { 'content-type': 'text/event-stream' } })
      const retryMs = Number(/^:\nretry: 3000\nretry: (\d+)\n$/.exec(asked.text)?.[1])
      t.ok(retryMs >= 2_000 && retryMs <= 4_000, `retry: ${retryMs}`)
      for (const accept of ['*/*', 'text/*']) {
        const other = await fetchAll(t, `${url}${path}/${code}`, { headers: { accept } })
        t.match({ ...other, body: JSON.parse(other.text) }, {
          statusCode: code, body: { statusCode: code, message: 'not now' }
        })
      }
    }
    t.match(await fetchAll(t, `${url}${path}/403`), {
      statusCode: 403, headers: { 'content-type': /json/ }
    }, 'a permanent error stays permanent')
  }
})

t.test('the last event id is read as UTF-8, and an empty one counts as none', async t => {
  const app = await buildApp(t)
  app.get(
    '/',
    (request, reply) => reply.sse(stream => [JSON.stringify([request.lastEventId ?? null, stream.lastEventId ?? null])])
  )
  const url = await listen(app)
  for (const [header, id] of [
    ['5-1', '5-1'], ['', null], [undefined, null], [Buffer.from('ü€').toString('latin1'), 'ü€'], ['1, 2', '1, 2']
  ]) {
    const headers = { accept: '*/*', ...(header === undefined ? {} : { 'last-event-id': header ?? '' }) }
    const { text } = await fetchAll(t, url, { headers })
    t.match(text, `data: ${JSON.stringify([id, id])}`)
  }
})

// Regression: a route that did not pass the parameter on sent new events only, and events were missed silently.
t.test('H22 without the header, the query parameter is the last event id', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse([JSON.stringify([request.lastEventId ?? null])]))
  const url = await listen(app)
  for (const [query, header, id] of [
    ['?lastEventId=5-1', undefined, '5-1'], ['?lastEventId=5-1', '', '5-1'], ['?lastEventId=5-1', '6-1', '6-1'],
    ['?lastEventId=', undefined, null], ['?lastEventId=1&lastEventId=&lastEventId=%C3%BC', undefined, '1, ü']
  ] as const) {
    const headers = { accept: '*/*', ...(header === undefined ? {} : { 'last-event-id': header }) }
    t.match((await fetchAll(t, `${url}/${query}`, { headers })).text, `data: ${JSON.stringify([id])}`)
  }
  t.equal(readLastEventId({ headers: {}, query: null } as FastifyRequest), undefined, 'a query parser of its own')
})
