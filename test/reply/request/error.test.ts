import t from 'tap'
import { pipeline, PassThrough, Readable } from 'node:stream'
import { once } from 'node:events'
import type { Test } from 'tap'
import { injectSse } from '../../../plugin/testing/index.ts'
import type { CloseReason, SseOptions, SseStream } from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'

const never = new Promise<never>(() => {})
const teapot = (): Error => Object.assign(new Error('short and stout'), { statusCode: 418, code: 'TEAPOT' })

/** A source that fails after its first event. */
function failing (error: unknown): () => AsyncGenerator<string> {
  return async function * () {
    yield 'a'
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    throw error
  }
}

t.test('an error before the first byte is passed to the error handler, without a trace of the stream', async t => {
  const sources: [string, unknown][] = [
    ['an async function', async () => { throw teapot() }],
    ['a function', () => { throw teapot() }],
    ['a generator', async function * () { throw teapot() }],
    ['a generator that wrote in the same turn', async function * () { yield 'a'; throw teapot() }],
    ['a Readable', Readable.from((function * () { throw teapot() })())],
    ['open()', { open: async () => { throw teapot() } }],
    ['open() that throws', { open: () => { throw teapot() } }],
    ['what open() returned', { open: () => () => { throw teapot() } }]
  ]
  for (const handler of ['default', 'sending an object', 'async'] as const) {
    const reasons: CloseReason[] = []
    const app = await buildApp(t, { onClose: reason => reasons.push(reason) })
    if (handler === 'sending an object') {
      app.setErrorHandler((error, request, reply) => {
        void reply.code(418).send({ statusCode: 418, message: (error as Error).message })
      })
    }
    if (handler === 'async') {
      app.setErrorHandler(async (error, request, reply) => {
        reply.code(418)
        return { statusCode: 418, message: (error as Error).message }
      })
    }
    sources.forEach(([, source], index) => app.get(`/${index}`, (request, reply) => reply.sse(source as 'a')))
    const url = await listen(app)
    for (const [index, [kind]] of sources.entries()) {
      const { statusCode, headers, text } = await fetchAll(t, `${url}/${index}`)
      t.match({ statusCode, ...JSON.parse(text) as object }, {
        statusCode: 418, message: 'short and stout'
      }, `${handler}: ${kind}`)
      t.match(headers, {
        'content-type': /^application\/json/,
        'content-length': /\d/,
        'cache-control': undefined,
        'x-accel-buffering': undefined
      })
    }
    t.same(reasons, sources.map(() => 'error'))
  }
})

// [thrown value, report]
const reports: [unknown, Record<string, unknown>][] = [
  [teapot(), { statusCode: 418, code: 'TEAPOT', error: "I'm a Teapot", message: 'short and stout' }],
  [new Error('secret'), { statusCode: 500, error: 'Internal Server Error', message: 'Internal Server Error' }],
  [
    Object.assign(new Error('secret'), { statusCode: 503, code: 'SECRET' }),
    { statusCode: 503, error: 'Service Unavailable', message: 'Service Unavailable' }
  ],
  [Object.assign(new Error('gone'), { status: 410 }), { statusCode: 410, error: 'Gone', message: 'gone' }],
  [
    Object.assign(new Error('secret'), { statusCode: 200 }),
    { statusCode: 500, error: 'Internal Server Error', message: 'Internal Server Error' }
  ],
  [Object.assign(new Error('odd'), { statusCode: 499, code: 5 }), { statusCode: 499, error: 'Error', message: 'odd' }],
  [{ statusCode: 404, message: 'no Error' }, { statusCode: 404, error: 'Not Found', message: 'Not Found' }],
  ['a string', { statusCode: 500, error: 'Internal Server Error', message: 'Internal Server Error' }],
  [null, { statusCode: 500, error: 'Internal Server Error', message: 'Internal Server Error' }]
]

t.test('an error after the first byte is reported in band, without the details that a 5xx hides', async t => {
  const app = await buildApp(t, { retryMs: false })
  let error: unknown
  app.get('/', (request, reply) => reply.sse(failing(error)))
  const url = await listen(app)
  for (const [thrown, report] of reports) {
    error = thrown
    t.equal((await fetchAll(t, url)).text, `:\ndata: a\n\nevent: stream.error\ndata: ${JSON.stringify(report)}\n\n`)
  }
})

t.test('the report has the configured name, is left out for false, and is JSON whatever serializes the events', async t => {
  const cases: [SseOptions, string[]][] = [
    [{ errorEvent: 'oops' }, ['message', 'oops']],
    [{ errorEvent: false }, ['message']],
    [{ serializer: data => `<${String(data)}>` }, ['message', 'stream.error']]
  ]
  for (const [options, names] of cases) {
    const app = await buildApp(t, options)
    app.get('/', (request, reply) => reply.sse(failing(teapot())))
    const events = await (await injectSse(app, '/')).end()
    t.same(events.map(({ event }) => event), names)
    if (events[1]) t.match(JSON.parse(events[1].data), { statusCode: 418 })
  }
})

// [onError, events after the first one]
const onErrors: [string, (error: unknown, stream: SseStream) => unknown, unknown[]][] = [
  ['returns nothing', () => {}, [{ event: 'stream.error' }]],
  ['returns null', () => null, [{ event: 'stream.error' }]],
  ['returns an event', () => ({ event: 'own', data: 'x' }), [{ event: 'own', data: 'x' }]],
  ['sends an event by itself', (error, stream) => {
    stream.push({ data: (error as Error).message })
  }, [{ data: 'short and stout' }, { event: 'stream.error' }]],
  ['closes the stream', (error, stream) => {
    stream.close('expired', { data: (error as Error).message })
  }, [{ data: 'short and stout' }]],
  ['throws', () => { throw new Error('onError itself') }, [{ event: 'stream.error' }]],
  ['returns what is no event', () => ({ event: 'a\nb', data: '' }), []],
  ['is async and rejects', async () => { throw new Error('onError itself') }, []]
]

t.test('onError is called once, and may replace the report', async t => {
  for (const [what, onError, events] of onErrors) {
    const log = new Inbox()
    let calls = 0
    const closes: CloseReason[] = []
    const app = await buildApp(t, {}, { logger: logInto(log, 'error') })
    const options = {
      onError: (error: unknown, stream: SseStream) => { calls++; return onError(error, stream) },
      onClose: (reason: CloseReason) => closes.push(reason)
    }
    app.get('/', (request, reply) => reply.sse(failing(teapot()), options as SseOptions))
    const got = await (await injectSse(app, '/')).end()
    t.match(got.slice(1), events, what)
    t.equal(got.length, events.length + 1)
    t.equal(calls, 1)
    t.same(closes, [what === 'closes the stream' ? 'expired' : 'error'])
    t.equal(linesWith(log, 'the source of an event stream failed').length, 1)
    t.equal(
      linesWith(log, 'the onError callback of an event stream failed').length > 0,
      /throws|no event|rejects/.test(what)
    )
  }
})

// Regression: an async onClose that rejected was an unhandled rejection, which ends the process.
t.test('an onClose that throws or rejects is logged and does no harm', async t => {
  for (const onClose of [() => { throw new Error('boom') }, async () => { throw new Error('boom') }]) {
    const log = new Inbox()
    const app = await buildApp(t, { onClose: onClose as () => void }, { logger: logInto(log, 'error') })
    app.get('/', (request, reply) => reply.sse('a'))
    t.equal((await (await injectSse(app, '/')).end()).length, 1)
    t.match(linesWith(log, 'boom'), [
      { msg: 'the onClose callback of an event stream failed', err: { message: 'boom' } }
    ])
  }
})

/** Serves a source to a client that disconnects after the first event; returns the log when it contains `text`. */
async function leave (
  t: Test,
  source: (stream: SseStream) => AsyncGenerator<string>,
  text: string
): Promise<{ log: Inbox, lines: Record<string, unknown>[] }> {
  const log = new Inbox()
  const app = await buildApp(t, {}, { logger: logInto(log, 'debug') })
  app.get('/', (request, reply) => reply.sse(source, { onError: () => { t.fail('a client that leaves is not an error') } }))
  const client = await open(t, await listen(app))
  await client.inbox.until('data: a')
  client.close()
  await log.until(text)
  return { log, lines: linesWith(log, text) }
}

t.test('a failure because the client left is not an error, and a failure during cleanup is logged', async t => {
  const failed = 'the source of an event stream failed after the stream was over'
  const { log } = await leave(t, async function * (stream) {
    yield 'a'
    await once(stream.signal, 'abort')
    throw new Error('because of the abort')
  }, 'event stream closed')
  await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
  t.match(linesWith(log, 'event stream closed'), [{ level: 20, sse: { reason: 'client', events: 1 } }])
  t.same(linesWith(log, failed), [])
  const cleaning = leave(t, async function * (stream) {
    try {
      yield 'a'
      await once(stream.signal, 'abort')
      yield 'b'
    } finally {
      // eslint-disable-next-line no-unsafe-finally -- this is the fault
      throw new Error('clean-up failed')
    }
  }, 'clean-up failed')
  t.match((await cleaning).lines, [{ level: 20, msg: failed }])
})

t.test('a source that responds by itself, or cuts the connection, and then fails is abandoned', async t => {
  const app = await buildApp(t)
  const closes: CloseReason[] = []
  const onClose = (reason: CloseReason): void => { closes.push(reason) }
  app.get('/own', (request, reply) => reply.sse(async () => { reply.raw.end('own'); throw teapot() }, { onClose }))
  app.get('/cut', (request, reply) => reply.sse(async () => { reply.raw.destroy(); throw teapot() }, { onClose }))
  const url = await listen(app)
  t.equal((await fetchAll(t, `${url}/own`)).text, 'own')
  await t.rejects(fetchAll(t, `${url}/cut`), { code: 'ECONNRESET' })
  t.same(closes, ['error', 'client'])
})

t.test('an onSend hook that wraps the stream is rejected with an error', async t => {
  const wrap: Record<string, (payload: NodeJS.ReadableStream) => unknown> = {
    '/vary': payload => payload.pipe(new PassThrough()),
    '/pipe': payload => payload.pipe(new PassThrough()),
    '/pipeline': payload => pipeline(payload, new PassThrough(), () => {})
  }
  const app = await buildApp(t)
  for (const path of Object.keys(wrap)) {
    app.get(path, {
      onSend: async (request, reply, payload) => {
        if (typeof (payload as Partial<NodeJS.ReadableStream>).pipe !== 'function') return payload
        reply.header('content-encoding', 'br')
          .header('vary', path === '/vary' ? 'Origin, Accept-Encoding' : 'accept-encoding')
        return wrap[path]!(payload as NodeJS.ReadableStream)
      }
    }, (request, reply) => reply.sse('a'))
  }
  for (const path of Object.keys(wrap)) {
    const { statusCode, headers, body } = await app.inject(path)
    t.match({ statusCode, ...JSON.parse(body) as object }, { statusCode: 500, code: 'FST_SSE_WRAPPED' }, path)
    // Regression: it was still declared as compressed, and nobody could read it.
    t.match(headers, { 'content-encoding': undefined, vary: path === '/vary' ? 'Origin' : undefined }, path)
  }
})

t.test('the error handler responds when an onSend hook fails', async t => {
  const closes: CloseReason[] = []
  const app = await buildApp(t, { onClose: reason => closes.push(reason) })
  let isFirst = true
  app.addHook('onSend', async (request, reply, payload) => {
    if (!isFirst) return payload
    isFirst = false
    throw teapot()
  })
  app.get('/', (request, reply) => reply.sse(async function * () { t.fail('it must not start') }))
  t.match((await app.inject('/')).json(), { statusCode: 418, message: 'short and stout' })
  t.same(closes, ['error'])
})

t.test('calling reply.sse() twice, or on a reply that was sent, is an error', async t => {
  const app = await buildApp(t)
  app.get('/twice', (request, reply) => { reply.sse(); return reply.sse('a') })
  app.get('/sent', (request, reply) => {
    void reply.send('sent')
    t.throws(() => reply.sse('a'), { code: 'FST_SSE_ALREADY_STARTED', message: /already sent$/ })
  })
  app.get('/hijacked', (request, reply) => {
    reply.hijack()
    t.throws(() => reply.sse('a'), { code: 'FST_SSE_ALREADY_STARTED' })
    reply.raw.end('own')
  })
  t.match((await app.inject('/twice')).json(), {
    statusCode: 500, code: 'FST_SSE_ALREADY_STARTED', message: /already turned into an event stream$/
  })
  t.equal((await app.inject('/sent')).body, 'sent')
  t.equal((await app.inject('/hijacked')).body, 'own')
})

t.test('the response to a handler that fails after reply.sse() in the same turn is its error', async t => {
  const closes: CloseReason[] = []
  const app = await buildApp(t, { onClose: reason => closes.push(reason) })
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    stream.push({ data: 'never sent' })
    throw teapot()
  })
  t.match((await app.inject('/')).json(), { statusCode: 418 })
  t.same(closes, ['error'])
})

t.test('trailers are sent after the last event', async t => {
  const app = await buildApp(t)
  app.get(
    '/',
    (request, reply) => reply.trailer('x-count', async () => '2').sse(async function * () { yield 'a'; yield 'b' })
  )
  app.get('/left', (request, reply) => reply.trailer('x-count', async () => '2')
    .sse(async function * () { yield 'a'; await never }, { onClose: () => app.server.emit('left') }))
  const url = await listen(app)
  const { response, text } = await fetchAll(t, url)
  t.equal(text, ':\nretry: 3000\ndata: a\n\ndata: b\n\n')
  t.match(response.trailers, { 'x-count': '2' })
  const { inbox, close } = await open(t, `${url}/left`)
  await inbox.until('data: a')
  const left = once(app.server, 'left')
  close()
  await left
})

t.test('an error handler may take longer than the drain', async t => {
  const app = await buildApp(t, { drainMs: 20 })
  let answer = (): void => {}
  app.setErrorHandler(async () => new Promise(resolve => {
    answer = () => resolve({ late: true })
    app.server.emit('handling')
  }))
  // Hooks run one after another: this one runs when the drain is over.
  app.addHook('preClose', async () => { answer() })
  app.get('/', (request, reply) => reply.sse(async () => { throw teapot() }))
  const url = await listen(app)
  const handling = once(app.server, 'handling')
  const answered = fetchAll(t, url)
  await handling
  const closed = app.close()
  t.match(JSON.parse((await answered).text), { late: true }, 'the drain does not affect it')
  await closed
})

// Regression: `cache-control: private, no-store` of the application was missing in the error response, so that a shared
// cache could keep it, while `vary` and `x-content-type-options` of the stream remained.
t.test('an error response keeps the headers of the application and has none of the stream', async t => {
  const app = await buildApp(t)
  const source = (): never => { throw teapot() }
  const own = {
    'cache-control': 'private, no-store',
    'x-accel-buffering': 'yes',
    incremental: '?0',
    'x-content-type-options': 'nosniff',
    vary: 'origin, accept-encoding'
  }
  app.get('/own', (_request, reply) => reply.headers(own).sse(source))
  app.get('/none', (_request, reply) => reply.sse(source))
  app.get('/vary', (_request, reply) => reply.header('vary', 'origin').sse(source))
  app.get('/later', (_request, reply) => {
    reply.sse(source)
    return reply.header('cache-control', 'private').header('vary', 'accept-encoding, cookie')
  })
  app.get('/again', {
    errorHandler: (_error, _request, reply) => { reply.code(200).sse({ data: 'again' }) }
  }, (_request, reply) => reply.header('cache-control', 'private').sse(source))
  const headersOf = async (url: string): Promise<Record<string, unknown>> => {
    const { headers } = await app.inject({ url, headers: { 'accept-encoding': 'gzip' } })
    const { date, connection, 'transfer-encoding': chunked, ...rest } = headers
    return rest
  }
  const error = { 'content-type': 'application/json; charset=utf-8', 'content-length': '85' }
  t.same(await headersOf('/own'), { ...error, ...own })
  t.same(await headersOf('/none'), error)
  t.same(await headersOf('/vary'), { ...error, vary: 'origin' })
  t.same(await headersOf('/later'), { ...error, 'cache-control': 'private', vary: 'cookie' })
  t.match(await headersOf('/again'), {
    'content-type': 'text/event-stream', 'cache-control': 'private', vary: 'accept-encoding', 'content-encoding': 'gzip'
  })
})
