import t from 'tap'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { injectSse } from '../../plugin/testing/index.ts'
import type { SseSource, SseStream } from '../../plugin/index.ts'
import { buildApp, listen } from '../support/apps/app.ts'
import { fetchAll, open } from '../support/clients/client.ts'
import { Inbox } from '../support/clients/inbox.ts'
import { logInto } from '../support/log.ts'

const PREAMBLE = ':\nretry: 3000\n'
const never = new Promise<never>(() => {})
const bytes = (text: string): Buffer => Buffer.from(text)

async function * generate (...items: unknown[]): AsyncGenerator<unknown> { yield * items }

function webStream (...chunks: unknown[]): ReadableStream<unknown> {
  return new ReadableStream({
    start (controller) { for (const chunk of chunks) controller.enqueue(chunk); controller.close() }
  })
}

type Body = ConstructorParameters<typeof Response>[0]
const eventStream = (body: Body): Response => new Response(body, { headers: { 'content-type': 'text/event-stream' } })

/** 'grüße 😀' cut inside its two-byte and four-byte characters, with an empty chunk in between. */
const cut = [bytes('gr'), Buffer.from([0xc3]), Buffer.from([0xbc, 0xc3]), Buffer.alloc(0), Buffer.from([
  0x9f, 0x65, 0x20, 0xf0, 0x9f
]), Buffer.from([0x98, 0x80])]
const cutText = 'data: gr\n\ndata: ü\n\ndata: ße \n\ndata: 😀\n\n'

// [kind, creates the source, bytes after the preamble]
const sources: [string, () => unknown, string][] = [
  ['an event', () => ({ id: 1, event: 'e', data: 'a' }), 'id: 1\nevent: e\ndata: a\n\n'],
  ['a bare retry', () => ({ retry: 5 }), 'retry: 5\n'],
  ['a string', () => 'a', 'data: a\n\n'],
  ['an empty string', () => '', 'data: \n\n'],
  ['a number', () => 0, 'data: 0\n\n'],
  ['a boolean', () => false, 'data: false\n\n'],
  ['null', () => null, 'data: null\n\n'],
  ['bytes', () => bytes('a'), 'data: a\n\n'],
  ['an empty array', () => [], ''],
  [
    'an array of events and data',
    () => [{ data: 'a' }, 'b', 3, null],
    'data: a\n\ndata: b\n\ndata: 3\n\ndata: null\n\n'
  ],
  ['a generator', () => (function * () { yield 'a'; yield 'b' })(), 'data: a\n\ndata: b\n\n'],
  ['an async generator', () => generate('a', { data: { n: 1 } }), 'data: a\n\ndata: {"n":1}\n\n'],
  ['a Set', () => new Set(['a', 'b']), 'data: a\n\ndata: b\n\n'],
  ['a bare async iterable', () => ({ [Symbol.asyncIterator]: () => generate('a') }), 'data: a\n\n'],
  ['a Readable of objects', () => Readable.from([{ data: 'a' }, 'b']), 'data: a\n\ndata: b\n\n'],
  ['a Readable of text cut inside characters', () => Readable.from(cut, { objectMode: false }), cutText],
  ['a Readable with an encoding', () => Readable.from(['a', 'b']).setEncoding('utf8'), 'data: a\n\ndata: b\n\n'],
  ['a web stream of events', () => webStream({ data: 'a' }, 'b'), 'data: a\n\ndata: b\n\n'],
  ['a web stream of text cut inside characters', () => webStream(...cut), cutText],
  ['bytes with a byte order mark, which is text here', () => [bytes('\ufeffa')], 'data: \ufeffa\n\n'],
  ['a fetch Response', () => eventStream('data: a\n\n: x\n\n'), 'data: a\n\n: x\n\n'],
  ['a fetch Response without a body', () => eventStream(null), ''],
  ['a generator function', () => function * () { yield 'a' }, 'data: a\n\n'],
  ['an async generator function', () => async function * () { yield 'a' }, 'data: a\n\n'],
  [
    'a callback',
    () => (stream: SseStream) => { stream.push({ data: 'a' }); stream.end({ data: 'last' }) },
    'data: a\n\ndata: last\n\n'
  ],
  ['an async callback', () => async (stream: SseStream) => { await stream.send({ data: 'a' }) }, 'data: a\n\n'],
  ['a function that returns an array', () => () => ['a'], 'data: a\n\n'],
  ['a function that resolves to a Response', () => async () => eventStream('data: a\n\n'), 'data: a\n\n'],
  ['a function that resolves to a Readable', () => async () => Readable.from([{ data: 'a' }]), 'data: a\n\n'],
  ['a promise', () => Promise.resolve('a'), 'data: a\n\n'],
  [
    'a source with open()',
    () => ({ open: (stream: SseStream) => async () => { await stream.send({ data: 'a' }) } }),
    'data: a\n\n'
  ]
]

t.test('every kind of source is streamed to its end', async t => {
  const app = await buildApp(t)
  let source: unknown
  app.get('/', (request, reply) => reply.sse(source as SseSource))
  const url = await listen(app)
  for (const [kind, make, text] of sources) {
    source = make()
    t.equal((await fetchAll(t, url)).text, PREAMBLE + text, kind)
  }
})

// [kind, creates the source, its error]
const badSources: [string, () => unknown, Record<string, unknown>][] = [
  ['a plain object', () => ({ name: 'x' }), {
    code: 'FST_SSE_BAD_SOURCE', message: /cannot stream \{"name":"x"\}: pass an event/
  }],
  ['an empty object', () => ({}), { code: 'FST_SSE_BAD_SOURCE' }],
  ['a symbol', () => Symbol('x'), { code: 'FST_SSE_BAD_SOURCE' }],
  ['a promise of nothing', () => Promise.resolve(), { code: 'FST_SSE_BAD_SOURCE' }],
  ['a function without parameters that returns nothing', () => () => {}, {
    code: 'FST_SSE_BAD_SOURCE', message: /return a source, or take the stream/
  }],
  [
    'an async one', () => async () => {}, { code: 'FST_SSE_BAD_SOURCE', message: /return a source, or take the stream/ }
  ],
  ['an open() that returns no function', () => ({ open: () => true }), {
    code: 'FST_SSE_BAD_SOURCE', message: /true as the result of open\(\)/
  }],
  ['topics that are no topics', () => ({ topics: [1], open: () => () => {} }), {
    code: 'FST_SSE_BAD_SOURCE', message: /the topics \[1\] of a source/
  }],
  ['an event that cannot be encoded', () => ({ event: 'a\nb', data: '' }), { code: 'FST_SSE_BAD_EVENT' }],
  ['an item that is no event', () => [['nested']], {
    code: 'FST_SSE_BAD_SOURCE', message: /cannot stream the item \["nested"\]/
  }],
  ['bytes that are not UTF-8', () => [Buffer.from([0xff])], { code: 'ERR_ENCODING_INVALID_ENCODED_DATA' }],
  ['bytes that end inside a character', () => [Buffer.from([0xc3])], { code: 'ERR_ENCODING_INVALID_ENCODED_DATA' }],
  ['a locked web stream', () => { const stream = webStream('a'); stream.getReader(); return stream }, {
    message: /locked/
  }],
  ['a function that returns nonsense', () => () => ({ name: 'x' }), { code: 'FST_SSE_BAD_SOURCE' }],
  ['a function that returns a function', () => () => () => 'a', {
    code: 'FST_SSE_BAD_SOURCE', message: /a function that returns a function/
  }],
  ['a Response of another type', () => new Response('a'), {
    code: 'FST_SSE_BAD_UPSTREAM',
    statusCode: 502,
    message: /saw status 200 with content-type "text\/plain;charset=UTF-8"/
  }],
  ['a Response without a type', () => new Response(null), {
    code: 'FST_SSE_BAD_UPSTREAM', message: /content-type "none"/
  }],
  [
    'a Response that is no success',
    () => new Response('data: a\n\n', { status: 404, headers: { 'content-type': 'text/event-stream' } }),
    { code: 'FST_SSE_BAD_UPSTREAM', message: /saw status 404/ }
  ],
  ['a function that returns a bad Response', () => async () => new Response('a'), { code: 'FST_SSE_BAD_UPSTREAM' }]
]

t.test('an invalid source is passed to the error handler before a byte is sent', async t => {
  const app = await buildApp(t)
  let source: unknown
  let error: unknown
  app.setErrorHandler((err, request, reply) => { error = err; return reply.code(500).send({ ok: false }) })
  app.get('/', (request, reply) => reply.sse(source as SseSource))
  for (const [kind, make, wanted] of badSources) {
    source = make()
    const { statusCode, headers, body } = await app.inject('/')
    t.match({ statusCode, body }, { statusCode: 500, body: '{"ok":false}' }, kind)
    t.match(headers, {
      'content-type': /^application\/json/, 'cache-control': undefined, 'x-accel-buffering': undefined
    })
    t.match(error, wanted)
  }
})

t.test('a callback that returns nothing leaves the stream open for later events', async t => {
  const app = await buildApp(t)
  let stream: SseStream | undefined
  app.get('/', (request, reply) => reply.sse(given => { stream = given }))
  const client = await injectSse(app, '/')
  t.equal(stream?.push({ data: 'later' }), true)
  t.match(await client.next(), [{ data: 'later' }])
  stream?.end()
  t.equal((await client.end()).length, 1)
})

t.test('reply.sse() without a source returns the stream, which can be written to before and after its headers are sent', async t => {
  const app = await buildApp(t)
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    t.same([stream.isOpen, stream.closeReason, stream.isFull], [true, undefined, false])
    t.equal(stream.push({ data: 1 }), true)
    t.equal(stream.bufferedBytes, 9)
    t.equal(stream.comment('hi'), true)
    t.equal(await stream.send({ data: 2 }), true)
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    t.equal(await stream.send({ data: 3 }), true)
    t.equal(stream.write({ bytes: Buffer.from('data: 4\n\ndata: 5\n\n'), events: 2 }), true)
    t.equal(await stream.room(), true)
    stream.end({ data: 'last' })
    stream.end({ data: 'too late' })
    t.same([stream.isOpen, stream.closeReason, await stream.closed, await stream.room()], [false, 'end', 'end', false])
    t.same([
      stream.push({ data: 0 }),
      await stream.send({ data: 0 }),
      stream.comment(''),
      await stream.sendFrame({ bytes: Buffer.from('x'), events: 1 })
    ], [false, false, false, false])
    t.match(stream.signal, { aborted: true, reason: { message: 'the event stream is over: end', cause: 'end' } })
    stream.closeWithRetry('shutdown', 1)
    t.match(stream.written, { events: 6, bytes: Buffer.byteLength(text) })
    return reply
  })
  const text = `${PREAMBLE}data: 1\n\n: hi\ndata: 2\n\ndata: 3\n\ndata: 4\n\ndata: 5\n\ndata: last\n\n`
  t.equal((await fetchAll(t, await listen(app))).text, text)
})

t.test('data that cannot be encoded throws and does not change the stream', async t => {
  const app = await buildApp(t)
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    t.throws(() => stream.push({ event: 'error', data: '' }), { code: 'FST_SSE_BAD_EVENT' })
    await t.rejects(stream.send({ id: '', data: '' }), { code: 'FST_SSE_BAD_EVENT' })
    t.throws(() => stream.end({ retry: -1 }), { code: 'FST_SSE_BAD_EVENT' })
    t.equal(stream.isOpen, true)
    stream.end({ data: 'good' })
    return reply
  })
  t.equal((await (await injectSse(app, '/')).end()).length, 1)
})

// Regression: Fastify responded for a handler that had returned nothing: 200 with an empty body, which EventSource
// requested again and again. Only a log at level warn showed it, and Fastify logs only if a logger is configured.
t.test('an async handler that forgets to return the reply gets a 500, and a line in the log', async t => {
  const log = new Inbox()
  const app = await buildApp(t, {}, { logger: logInto(log, 'warn') })
  const closed: Promise<unknown>[] = []
  app.get('/manual', async (request, reply) => { closed.push(reply.sse().closed) })
  app.get('/written', async (request, reply) => {
    const stream = reply.sse()
    closed.push(stream.closed)
    await stream.send({ data: 'a' })
  })
  app.get('/source', async (request, reply) => {
    reply.sse(['a'], { onClose: reason => { closed.push(Promise.resolve(reason)) } })
  })
  app.get('/callback', (request, reply) => { reply.sse(['a']) })
  app.get('/late', async (request, reply) => {
    const stream = reply.sse()
    await new Promise(resolve => { setTimeout(resolve, 20) })
    stream.end({ data: 'after the headers' })
  })
  for (const path of ['/manual', '/written', '/source']) {
    const { statusCode, headers, body } = await app.inject(path)
    t.match({ statusCode, ...JSON.parse(body) as object }, {
      statusCode: 500,
      code: 'FST_SSE_NOT_RETURNED',
      message: `the async handler of ${path} called reply.sse() and returned nothing: end it with \`return reply\``
    })
    t.match(headers, { 'content-type': /^application\/json/, 'cache-control': undefined, incremental: undefined })
  }
  t.same(await Promise.all(closed), ['error', 'error', 'error'])
  t.match(log.text, 'FST_SSE_NOT_RETURNED')
  t.match(await app.inject('/callback'), { statusCode: 200, body: /data: a/ }, 'a plain function need not return it')
  t.match(await app.inject('/late'), {
    statusCode: 200, body: /data: after the headers/
  }, 'the stream had started: nothing is lost')
})

// Fastify took the stream for the payload: FST_ERR_REP_INVALID_PAYLOAD_TYPE.
t.test('an undefined source is reported when it is returned; a stream without a source is not affected', async t => {
  const app = await buildApp(t)
  const reasons: string[] = []
  const options = { onClose: (reason: string) => { reasons.push(reason) } }
  app.get('/async', async (request, reply) => reply.sse(undefined, options))
  app.get('/sync', (request, reply) => reply.sse(undefined, options))
  app.get('/manual', (request, reply) => { reply.sse(undefined, options).end({ data: 'a' }) })
  for (const path of ['/async', '/sync']) {
    const { statusCode, body } = await app.inject(path)
    t.match({ statusCode, ...JSON.parse(body) as object }, {
      statusCode: 500,
      code: 'FST_SSE_BAD_SOURCE',
      message: /^reply.sse\(\) cannot stream undefined, .*its own stream: pass a source, or end the handler with `return reply`$/
    })
  }
  t.match(await app.inject('/manual'), { statusCode: 200, body: /data: a/ })
  t.same(reasons, ['error', 'error', 'end'])
})

t.test('a missing return in a handler that the plugin cannot watch is reported in the log', async t => {
  const log = new Inbox()
  const app = await buildApp(t, {}, { logger: logInto(log, 'warn') })
  const closed: Promise<unknown>[] = []
  app.setNotFoundHandler(async (request, reply) => { closed.push(reply.code(200).sse().closed) })
  await app.inject('/')
  t.same(await Promise.all(closed), ['error'])
  await log.until('an async handler that calls reply.sse() must return the reply')
})

t.test('the signal and the closed promise report the end to listeners added before it', async t => {
  const app = await buildApp(t)
  const reasons: unknown[] = []
  app.get('/', (request, reply) => {
    const stream = reply.sse()
    stream.signal.addEventListener('abort', () => reasons.push((stream.signal.reason as Error).cause))
    void stream.closed.then(reason => reasons.push(reason))
    setImmediate(() => setImmediate(() => stream.close('expired', { event: 'stream.expired', data: {} })))
  })
  const client = await injectSse(app, '/')
  t.match(await client.end(), [{ event: 'stream.expired' }])
  t.same(reasons, ['expired', 'expired'])
})

t.test('a source that will not be streamed is released', async t => {
  const app = await buildApp(t)
  let cancelled = 0
  const cancellable = (): ReadableStream<unknown> => new ReadableStream({ cancel () { cancelled++ } })
  const readable = new Readable({ read () {} })
  const made: Record<string, () => unknown> = {
    '/readable': () => readable,
    '/web': cancellable,
    '/response': () => eventStream(cancellable() as unknown as Body),
    '/bad-response': () => new Response(cancellable() as unknown as Body)
  }
  for (const path of Object.keys(made)) {
    app.route({
      method: ['GET', 'HEAD'], url: path, handler: (request, reply) => reply.sse(made[path]!() as SseSource)
    })
  }
  app.get('/returned', (request, reply) => reply.sse(async () => made['/bad-response']!() as Response))
  for (const path of Object.keys(made)) await app.inject({ method: 'HEAD', url: path })
  t.equal(readable.destroyed, true)
  t.equal(cancelled, 3)
  await app.inject({ url: '/web', headers: { accept: 'text/html' } })
  t.equal(cancelled, 4, 'also when the client is rejected')
  await app.inject('/returned')
  t.equal(cancelled, 5, 'also when a function returns a rejected source')
})

// Regression: a failing hook, or one that replaces the payload, left the Readable open: Fastify had never seen it, and
// the stream no longer knew it.
t.test('a source is released when an onSend hook fails or sends something else', async t => {
  for (const hook of [async () => { throw new Error('hook') }, async () => 'something else']) {
    const app = await buildApp(t)
    const readable = new Readable({ read () {} })
    app.get('/', { onSend: hook }, (request, reply) => reply.sse(readable))
    await app.inject('/')
    t.equal(readable.destroyed, true)
  }
})

t.test('an item that cannot be sent returns the generator', async t => {
  const app = await buildApp(t)
  let onFinally = (): void => {}
  const finallyRan = new Promise<void>(resolve => { onFinally = resolve })
  app.get('/', (request, reply) => reply.sse(async function * () {
    try {
      yield 'a'
      await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
      yield { event: 'error', data: '' }
      t.fail('it must not continue')
    } finally { onFinally() }
  }))
  t.match(await (await injectSse(app, '/')).end(), [{ data: 'a' }, { event: 'stream.error' }])
  await finallyRan
})

t.test('a client that disconnects releases the source at once, whatever it waits for', async t => {
  const app = await buildApp(t)
  const released: string[] = []
  const all = once(app.server, 'all released')
  const release = (kind: string): void => { if (released.push(kind) === 6) app.server.emit('all released') }
  const made: Record<string, SseSource> = {
    readable: new Readable({ read () {}, destroy (error, callback) { release('readable'); callback(error) } }),
    web: new ReadableStream<string>({ cancel () { release('web') } }),
    response: eventStream(new ReadableStream({ cancel () { release('response') } }) as unknown as Body),
    generator: async function * (stream) {
      try { yield 'a'; await once(stream.signal, 'abort') } finally { release('generator') }
    },
    parked: {
      [Symbol.asyncIterator]: () => ({
        next: () => never, return: async () => { release('parked'); return { done: true, value: undefined } }
      })
    },
    callback: async stream => { await stream.closed; release('callback') }
  }
  for (const [path, source] of Object.entries(made)) app.get(`/${path}`, (request, reply) => reply.sse(source))
  const url = await listen(app)
  for (const path of Object.keys(made)) {
    const { inbox, close } = await open(t, `${url}/${path}`)
    await inbox.until(PREAMBLE)
    close()
  }
  await all
  t.same(released.sort(), Object.keys(made).sort())
})
