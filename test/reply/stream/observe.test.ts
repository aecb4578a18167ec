import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createRequire } from 'node:module'
import Fastify from 'fastify'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import sse from '../../../plugin/index.ts'
import type { StreamCloseMessage, StreamOpenMessage } from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'

// Loaded by require(), because its types declare a conflicting reply.sse.
const rival = createRequire(import.meta.url)('@fastify/sse') as FastifyPluginAsync

const never = new Promise<never>(() => {})

t.test('diagnostics channels report every stream that opens and closes', async t => {
  const opens: StreamOpenMessage[] = []
  const closes: StreamCloseMessage[] = []
  const onOpen = (message: unknown): void => { opens.push(message as StreamOpenMessage) }
  const onClose = (message: unknown): void => { closes.push(message as StreamCloseMessage) }
  subscribe('sse.stream.open', onOpen)
  subscribe('sse.stream.close', onClose)
  t.teardown(() => { unsubscribe('sse.stream.open', onOpen); unsubscribe('sse.stream.close', onClose) })
  const app = await buildApp(t, { retryMs: false })
  app.get('/:what', (request, reply) => reply.sse(['a', 'bc']))
  app.get('/refused', (request, reply) => reply.sse(async () => { throw new Error('no') }))
  const url = await listen(app)
  const { text } = await fetchAll(t, `${url}/one`)
  await fetchAll(t, `${url}/refused`)
  await fetchAll(t, `${url}/one`, { method: 'HEAD' })
  await fetchAll(t, `${url}/two`)
  t.match(opens, [{ request: { params: { what: 'one' } } }, { request: { params: { what: 'two' } } }])
  t.equal(opens.length, 2, 'not for a stream that never opened')
  t.match(closes, [{ reason: 'end', events: 2, bytes: Buffer.byteLength(text), durationMs: Number }, { reason: 'end' }])
  t.equal(closes[0]?.stream, opens[0]?.stream)
  t.equal(closes.length, 2)
})

t.test('one line is logged per stream that closes: a warning if it was slow, or failed without another log line', async t => {
  const log = new Inbox()
  const app = await buildApp(t, { retryMs: false }, { logger: logInto(log, 'debug') })
  app.get('/end', (request, reply) => reply.sse(['a']))
  app.get(
    '/slow',
    (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => stream.close('slow'))) })
  )
  app.get('/error', (request, reply) => reply.sse(async function * () {
    yield 'a'
    await new Promise(resolve => setTimeout(resolve, 1))
    throw new Error('no')
  }))
  app.get('/client', (request, reply) => reply.sse(async function * () { yield 'a'; await never }))
  app.get(
    '/later',
    (request, reply) => reply.sse(async () => { throw Object.assign(new Error('later'), { statusCode: 503 }) })
  )
  app.get(
    '/by-hand',
    (request, reply) => reply.sse(stream => { setImmediate(() => setImmediate(() => stream.close('error'))) })
  )
  const url = await listen(app)
  for (const path of ['/end', '/slow', '/error', '/later', '/by-hand']) await fetchAll(t, url + path)
  const { inbox, close } = await open(t, `${url}/client`)
  await inbox.until('data: a')
  close()
  await log.until('"reason":"client"')
  t.match(linesWith(log, 'event stream closed'), [
    { level: 20, reqId: 'req-1', sse: { reason: 'end', events: 1, bytes: 11, durationMs: Number } },
    { level: 40, reqId: 'req-2', sse: { reason: 'slow', events: 0, bytes: 2 } },
    { level: 20, reqId: 'req-3', sse: { reason: 'error', events: 2 } },
    { level: 20, reqId: 'req-4', sse: { reason: 'error', events: 0 } },
    { level: 40, reqId: 'req-5', sse: { reason: 'error', events: 0 } },
    { level: 20, reqId: 'req-6', sse: { reason: 'client', events: 1 } }
  ])
  t.equal(linesWith(log, 'event stream closed').length, 6)
  t.match(linesWith(log, 'event stream rejected'), [{ level: 40, err: { message: 'later' } }])
  t.equal(linesWith(log, '"level":50').length, 1, 'the only error is the source that failed')
  await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
  t.same(linesWith(log, 'prematurely').concat(linesWith(log, 'terminated')), [], 'Fastify logs nothing itself')
})

t.test('it cannot be registered together with @fastify/sse, in either order, or with anything else named reply.sse', async t => {
  const conflict = (name: string) => ({
    code: 'FST_SSE_CONFLICT',
    statusCode: 500,
    message: `fastify-resumable-sse cannot be registered together with ${name}: both provide reply.sse. Remove one of them`
  })
  const before = Fastify()
  await before.register(rival)
  await t.rejects(async () => { await before.register(sse) }, conflict('@fastify/sse'))

  const after = Fastify()
  await after.register(sse)
  await after.register(rival)
  await t.rejects(async () => { await after.ready() }, conflict('@fastify/sse'))

  const inChild = Fastify()
  await inChild.register(sse)
  await t.rejects(async () => {
    await inChild.register(async child => {
      await child.register(rival)
      child.get('/', async () => {})
    })
  }, conflict('@fastify/sse'))

  const other = Fastify()
  other.decorateReply('sse', null as unknown as FastifyReply['sse'])
  await t.rejects(async () => { await other.register(sse) }, conflict('another plugin'))
})

t.test('it rejects a second registration, also in a child; two separate instances are allowed', async t => {
  const app = await buildApp(t)
  await t.rejects(async () => {
    await app.register(sse)
  }, { code: 'FST_SSE_CONFLICT', message: /together with itself \(it is registered already\)/ })
  const parent = await buildApp(t)
  await t.rejects(async () => {
    await parent.register(async child => { await child.register(sse) })
  }, { code: 'FST_SSE_CONFLICT' })
  const siblings = Fastify()
  t.teardown(() => siblings.close())
  for (const prefix of ['/a', '/b']) {
    await siblings.register(async child => {
      await child.register(sse, { retryMs: prefix === '/a' ? 1 : 2 })
      child.get('/', (request, reply) => reply.sse('a'))
    }, { prefix })
  }
  t.match((await siblings.inject('/a')).body, 'retry: 1\n')
  t.match((await siblings.inject('/b')).body, 'retry: 2\n')
})
