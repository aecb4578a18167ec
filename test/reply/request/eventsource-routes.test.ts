import t from 'tap'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SseStream } from '../../../plugin/index.ts'
import { injectSse } from '../../../plugin/testing/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'

const EVENTSOURCE = { accept: 'text/event-stream' }
const failing = (statusCode: number) =>
  async (): Promise<never> => { throw Object.assign(new Error('not now'), { statusCode }) }

// Regression: rate limits, load shedding, an unavailable session store and the handler timeout respond with 429 or 503
// before the handler is called. That ended an EventSource permanently: only errors of the stream itself were sent as
// 200 with a retry.
t.test('a hook that throws a temporary error does not end an EventSource on a route with the option sse', async t => {
  const app = await buildApp(t, {}, { handlerTimeout: 30 })
  const limit = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.header('retry-after', (request.query as { after?: string }).after ?? '2').code(429)
    // eslint-disable-next-line no-throw-literal -- what an errorResponseBuilder of @fastify/rate-limit may return
    throw { message: 'slow down' }
  }
  const never = new Promise<undefined>(() => {})
  app.setErrorHandler<{ statusCode?: number }>(
    (error, request, reply) => reply.code(error.statusCode ?? reply.statusCode).send({ from: 'the scope' })
  )
  app.get('/full', { sse: {}, onRequest: failing(503) }, (request, reply) => reply.sse('a'))
  app.get('/config', {
    config: { sse: { retryMs: false } }, preHandler: failing(503)
  }, (request, reply) => reply.sse('a'))
  app.get('/limit', { sse: {}, onRequest: limit }, (request, reply) => reply.sse('a'))
  app.get('/timeout', { sse: {} }, (request, reply) => reply.sse(() => never))
  app.get('/own', {
    sse: {},
    onRequest: failing(403),
    errorHandler: ({ statusCode = 500 }, request, reply) => {
      void reply.code(statusCode).send({ from: 'the route' })
    }
  }, (request, reply) => reply.sse('a'))
  app.get('/final', { sse: {}, onRequest: failing(403) }, (request, reply) => reply.sse('a'))
  app.get('/plain', { onRequest: failing(503) }, () => 'not a stream')
  const url = await listen(app)
  const retryOf = (text: string): number => Number(/^retry: (\d+)\n$/m.exec(text.replace('retry: 3000\n', ''))?.[1])

  for (const path of ['/full', '/config', '/limit', '/timeout']) {
    const kept = await fetchAll(t, url + path)
    t.match(kept, {
      statusCode: 200, headers: { 'content-type': 'text/event-stream' }, text: /^:\n(retry: 3000\n)?retry: \d+\n$/
    }, path)
    t.ok(retryOf(kept.text) >= 2_000 && retryOf(kept.text) <= 4_000, `${path}: ${retryOf(kept.text)} ms`)
    const other = await fetchAll(t, url + path, { headers: { accept: '*/*' } })
    t.match([other.statusCode, JSON.parse(other.text)], [path === '/limit' ? 429 : 503, { from: 'the scope' }], path)
    t.not(
      (await fetchAll(t, url + path, { method: 'HEAD' })).headers['content-type'],
      path === '/timeout' ? '' : 'text/event-stream',
      path
    )
  }
  for (const [after, least, most] of [['30', 30_000, 32_000], ['99999999', 3_600_000, 3_600_000], [
    new Date(Date.now() + 60_000).toUTCString(), 50_000, 62_000
  ], ['soon', 2_000, 4_000]] as const) {
    const retryMs = retryOf((await fetchAll(t, `${url}/limit?after=${encodeURIComponent(after)}`)).text)
    t.ok(retryMs >= least && retryMs <= most, `Retry-After: ${after} gives retry: ${retryMs}`)
  }
  t.match(await fetchAll(t, `${url}/own`), { statusCode: 403, text: '{"from":"the route"}' })
  t.match(await fetchAll(t, `${url}/final`), { statusCode: 403, text: /the scope/ }, 'a permanent error stays permanent')
  t.match(await fetchAll(t, `${url}/plain`), { statusCode: 503 }, 'other routes are not affected')
})

// Regression: a POST that requested a stream got 200 and a retry instead of 503, too. EventSource only sends GET, and
// other clients read the status.
t.test('methods other than GET get the actual status of a temporary error', async t => {
  const app = await buildApp(t)
  app.route({
    method: ['GET', 'POST'], url: '/hook', sse: {}, onRequest: failing(503), handler: (request, reply) => reply.sse('a')
  })
  app.route({ method: ['GET', 'POST'], url: '/source', handler: (request, reply) => reply.sse(failing(429)) })
  const url = await listen(app)
  for (const [path, status] of [['/hook', 503], ['/source', 429]] as const) {
    t.match(await fetchAll(t, url + path), { statusCode: 200, text: /retry: \d+\n$/ }, `GET ${path}`)
    t.match(await fetchAll(t, url + path, { method: 'POST' }), {
      statusCode: status, headers: { 'content-type': /json/ }
    }, `POST ${path}`)
  }
})

// Regression: an EventSource reconnects after every end, so a finite source ran again and again: a model was called
// five times in 13 s.
t.test('with the option final a stream ends for good, whatever its source', async t => {
  const app = await buildApp(t, { final: true })
  let runs = 0
  app.get('/source', (request, reply) => reply.sse(async function * () {
    runs++
    yield { id: 1, data: 'a' }
  }))
  app.get('/manual', (request, reply) => {
    const stream = reply.sse()
    if (stream.isOpen) runs++
    stream.end({ data: 'a' })
    return reply
  })
  app.get('/open', { sse: { final: false } }, (request, reply) => reply.sse(['a']))
  app.get('/failing', (request, reply) => reply.sse(async function * () {
    yield 'a'
    await pause(5)
    throw new Error('a bug')
  }))
  for (const path of ['/source', '/manual']) {
    runs = 0
    const events = await (await injectSse(app, path)).end()
    t.match(events.at(-1), { id: 'stream.end', event: 'stream.end', data: '{"reason":"done"}' }, path)
    t.same([runs, events[0]?.data], [1, 'a'])
    const again = await app.inject({ url: path, headers: { ...EVENTSOURCE, 'last-event-id': 'stream.end' } })
    t.match(again, { statusCode: 204, body: '' }, path)
    t.notOk('content-type' in again.headers || 'incremental' in again.headers)
    t.equal(runs, 1, 'the source is not run again')
    t.equal(
      (await (await injectSse(app, { url: path, headers: { 'last-event-id': '1' } })).end()).length,
      2,
      'a client that was cut off before gets a stream'
    )
  }
  for (const path of ['/open', '/failing']) {
    t.notMatch((await (await injectSse(app, path)).end()).map(({ event }) => event), ['stream.end'], path)
  }
  t.match(await app.inject({ url: '/open', headers: { 'last-event-id': 'stream.end' } }), {
    statusCode: 200, body: /data: a/
  })
})

// Regression: the error handler was told that the reply "was already turned into an event stream", although nothing had
// been sent.
t.test('an error handler may respond with a stream, whatever failed before the first byte', async t => {
  const app = await buildApp(t, { retryMs: false })
  app.setErrorHandler((error, request, reply) => reply.code(200)
    .sse({ event: 'failed', data: (error as Error).message }))
  const fail = (): never => { throw new Error('a bug') }
  app.get('/handler', () => fail())
  app.get('/handler-late', async (request, reply) => { reply.sse(['never']); fail() })
  app.get('/function', (request, reply) => reply.sse(async () => fail()))
  app.get('/open', (request, reply) => reply.sse({ open: fail }))
  app.get('/run', (request, reply) => reply.sse({ open: () => fail }))
  app.get('/generator', (request, reply) => reply.sse(async function * () { fail() }))
  const url = await listen(app)
  const warnings: string[] = []
  const warned = ({ name }: Error): void => { warnings.push(name) }
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  for (const path of ['/handler', '/handler-late', '/function', '/open', '/run', '/generator']) {
    t.match(await fetchAll(t, url + path), {
      statusCode: 200, headers: { 'content-type': 'text/event-stream' }, text: ':\nevent: failed\ndata: a bug\n\n'
    }, path)
  }
  t.same(warnings, [], 'there is no warning about too many listeners')
})

// Browsers and undici open connections in advance. Node 20 waits 70 s for a connection that never sends a byte, longer
// than any orchestrator waits.
t.test('app.close() does not wait for connections on which nothing was sent', async t => {
  const app = await buildApp(t, { drainMs: 200 })
  app.get('/', (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) }))
  const { port } = new URL(await listen(app))
  const spare = net.connect(Number(port), '127.0.0.1')
  t.teardown(() => { spare.destroy() })
  const ended = once(spare.resume(), 'close')
  await once(spare, 'connect')
  const { inbox } = await open(t, `http://127.0.0.1:${port}/`)
  await inbox.until('data: a')
  await app.close()
  t.match(await inbox.ended(), /retry: \d+\n$/)
  await ended
})

t.test('every stream has the header incremental, unless the application sets it', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse('a'))
  app.get('/own', (request, reply) => reply.header('incremental', '?0').sse('a'))
  t.equal((await app.inject('/')).headers.incremental, '?1')
  t.equal((await app.inject('/own')).headers.incremental, '?0')
  t.equal((await app.inject({ url: '/', method: 'HEAD' })).headers.incremental, '?1')
})

t.test('the signal of a stream can have any number of listeners', async t => {
  const warnings: Error[] = []
  const warned = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse((stream: SseStream) => {
    for (let at = 0; at < 100; at++) stream.signal.addEventListener('abort', () => {})
    stream.end()
  }))
  await app.inject('/')
  await pause(1)
  t.same(warnings, [])
})

t.test('a warning is logged at the start for a connectionTimeout that cuts idle streams', async t => {
  const cases: [number, number, RegExp | undefined][] = [
    [0, 1_000, undefined], [2_000, 1_000, undefined], [
      1_000, 1_000, /connectionTimeout \(1000 ms\) .* heartbeatMs is 1000/
    ], [500, 0, /heartbeats are off/]
  ]
  for (const [connectionTimeout, heartbeatMs, wanted] of cases) {
    for (const isRoute of [false, true]) {
      const log = new Inbox()
      const app = await buildApp(t, isRoute ? { heartbeatMs: 10 } : { heartbeatMs }, {
        connectionTimeout, logger: logInto(log, 'warn')
      })
      if (isRoute) app.get('/', { sse: { heartbeatMs } }, (request, reply) => reply.sse('a'))
      await app.ready()
      if (wanted) t.match(log.text, wanted)
      else t.equal(log.text, '')
    }
  }
})

t.test('an error about anything other than one event says what to do instead', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async stream => {
    const bad: [unknown, RegExp][] = [
      ['hello', /^an event must be an object \{.*\}: wrap bare data as \{ data \}, saw "hello"$/], [
        (function * () { yield 1 })(), /pass a source of many, or a promise, to reply\.sse\(\)/
      ],
      [Promise.resolve(), /pass a source of many, or a promise/], [{ data: { n: 1n } }, /saw \{"n":"1n"\}/]
    ]
    for (const [event, message] of bad) {
      await t.rejects(stream.send(event as { data: string }), { code: 'FST_SSE_BAD_EVENT', message })
    }
  }))
  await app.inject('/')
  await t.rejects(async () => {
    await (await buildApp(t)).register(async app => { app.get('/', { sse: { heartbeat: 1 } as object }, () => {}) })
  }, { message: /one of .*events, saw an unknown option/ })
  await t.rejects(buildApp(t, { heartbeat: 1 } as object), {
    message: /one of .*drainMs, answersWhileClosing, saw an unknown option/
  })
})

t.test('injectSse() waits no longer than its timeout', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) }))
  const stream = await injectSse(app, '/', { timeoutMs: 20 })
  t.match(await stream.next(), [{ data: 'a' }])
  await t.rejects(stream.next(), { message: /event 2 did not arrive within 20 ms; so far: .*"data":"a"/ })
  await t.rejects(stream.end(), { message: /the end did not arrive within 20 ms/ })
  stream.close()
})

// Regression: the rule existed three times. A source's `retry:` ignored `Retry-After`, all of them ignored that of
// `error.headers`, and `{ status: 429 }` was logged as a warning, so that clients could fill the log.
t.test('a hook and a source reject by the same rule: delay, log level and fields', async t => {
  const log = new Inbox()
  const app = await buildApp(t, { retryMs: false }, { logger: logInto(log, 'debug') })
  const cases: Record<string, [error: object, reply: (reply: FastifyReply) => unknown, level: number]> = {
    '/reply': [{ statusCode: 503 }, reply => reply.header('retry-after', '60'), 40],
    '/error': [{ statusCode: 503, headers: { 'Retry-After': '60' } }, () => {}, 40],
    '/both': [{ statusCode: 503, headers: { 'retry-after': '60' } }, reply => reply.header('retry-after', 5), 40],
    '/status': [{ status: 429, headers: { 'retry-after': 60 } }, () => {}, 20],
    '/code': [{ headers: { 'retry-after': 60 } }, reply => reply.code(429), 20]
  }
  for (const [path, [error, prepare]] of Object.entries(cases)) {
    const fail = (): never => { throw Object.assign(new Error(`not now: ${path}`), error) }
    app.get(`/hook${path}`, { sse: {}, onRequest: async (_request, reply) => { prepare(reply); fail() } }, fail)
    app.get(`/source${path}`, (_request, reply) => {
      reply.sse(async () => { prepare(reply); fail() })
      return reply
    })
  }
  for (const [path, [, , level]] of Object.entries(cases)) {
    for (const url of [`/hook${path}`, `/source${path}`]) {
      const { statusCode, text, retryMs = 0 } = await injectSse(app, url).then(async stream => {
        await stream.end()
        return stream
      })
      t.equal(statusCode, 200, url)
      t.ok(retryMs >= 60_000 && retryMs <= 62_000, `${url}: ${text}`)
      const [line, ...others] = linesWith(log, `not now: ${path}`).splice(-1)
      t.match(line, { level, retryMs, topics: [], msg: /the client is asked to retry later/ }, url)
      t.same(others, [])
    }
  }
})
