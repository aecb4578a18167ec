import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { CloseReason } from '../../../plugin/index.ts'
import { deferred } from '../../../plugin/common/deferred.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, fetchAll, get, open } from '../../support/clients/client.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'

const teapot = (): Error => Object.assign(new Error('short and stout'), { statusCode: 418, code: 'TEAPOT' })
const TEAPOT = { statusCode: 418, code: 'TEAPOT', error: "I'm a Teapot", message: 'short and stout' }
const HIDDEN = { statusCode: 500, error: 'Internal Server Error', message: 'Internal Server Error' }

/** A handler that writes manually and fails after its first event has been sent. */
function addFailing (app: FastifyInstance, path: string, error: () => unknown): void {
  app.get(path, async (request, reply) => {
    const stream = reply.sse()
    await stream.send({ data: 'a' })
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    throw error()
  })
}

interface Stage { app: FastifyInstance, reasons: CloseReason[], log: Inbox }

async function build (t: Test, server: object = {}): Promise<Stage> {
  const [reasons, log]: [CloseReason[], Inbox] = [[], new Inbox()]
  const app = await buildApp(t, { retryMs: false, onClose: reason => reasons.push(reason) }, {
    logger: logInto(log, 'debug'), ...server
  })
  return { app, reasons, log }
}

// Regression: the stream stayed open as long as the client did: Fastify no longer handles a reply whose bytes are being
// sent, and only logged "Promise errored, but reply.sent = true was set".
t.test('a handler that fails after the first byte of its stream ends it, and the error is reported in band', async t => {
  const { app, reasons, log } = await build(t)
  addFailing(app, '/teapot', teapot)
  addFailing(app, '/secret', () => new Error('secret'))
  const url = await listen(app)
  t.equal(
    (await fetchAll(t, `${url}/teapot`)).text,
    `:\ndata: a\n\nevent: stream.error\ndata: ${JSON.stringify(TEAPOT)}\n\n`
  )
  t.equal(
    (await fetchAll(t, `${url}/secret`)).text,
    `:\ndata: a\n\nevent: stream.error\ndata: ${JSON.stringify(HIDDEN)}\n\n`
  )
  t.same(reasons, ['error', 'error'])
  t.match(linesWith(log, 'the handler of an event stream failed'), [
    { level: 50, err: { message: 'short and stout' } }, { err: { message: 'secret' } }
  ])
  t.notMatch(log.text, 'Promise errored')
})

t.test('over HTTP/2 a handler that fails after the first byte does the same', async t => {
  const { key, cert } = makeCertificate()
  const { app, reasons } = await build(t, { http2: true, https: { key, cert } })
  addFailing(app, '/', teapot)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const session = await openSession(t, `https://127.0.0.1:${(app.server.address() as AddressInfo).port}`, { ca: cert })
  const { headers, inbox } = await openHttp2(session, '/')
  t.equal(headers[http2.constants.HTTP2_HEADER_STATUS], 200)
  t.equal(await inbox.ended(), `:\ndata: a\n\nevent: stream.error\ndata: ${JSON.stringify(TEAPOT)}\n\n`)
  t.same(reasons, ['error'])
})

t.test('the response to a handler that fails before the first byte is its error, however slow the error handler is', async t => {
  const { app, reasons } = await build(t)
  app.setErrorHandler(async (error: Error & { statusCode: number }, request, reply) => {
    await new Promise(resolve => setTimeout(resolve, 20))
    return reply.code(error.statusCode).send({ told: error.message })
  })
  app.get('/async', async (request, reply) => {
    reply.sse()
    throw teapot()
  })
  app.get('/sync', (request, reply) => {
    reply.sse()
    throw teapot()
  })
  app.get('/source', async (request, reply) => {
    reply.sse('never sent')
    throw teapot()
  })
  const url = await listen(app)
  for (const path of ['async', 'sync', 'source']) {
    const { statusCode, headers, text } = await fetchAll(t, `${url}/${path}`)
    t.match({ statusCode, text }, { statusCode: 418, text: '{"told":"short and stout"}' }, path)
    t.match(headers, { 'content-type': /^application\/json/ })
  }
  t.same(reasons, ['error', 'error', 'error'])
})

t.test('the response to a handler that fails while hooks hold it back is sent when they are done', async t => {
  const { app, reasons } = await build(t)
  const [held, go] = [deferred<void>(), deferred<void>()]
  app.addHook('onSend', async (request, reply, payload) => {
    held.settle()
    await go.promise
    return payload
  })
  app.get('/', async (request, reply) => {
    reply.sse()
    await held.promise
    setImmediate(go.settle)
    throw teapot()
  })
  t.match(await fetchAll(t, await listen(app)), { statusCode: 418, text: JSON.stringify(TEAPOT) })
  t.same(reasons, ['error'])
})

t.test('the response to a handler that fails while it waits behind another response is sent in its turn', async t => {
  const { app } = await build(t)
  const failed = deferred<void>()
  app.get('/first', async (request, reply) => {
    await failed.promise
    return reply.send('first')
  })
  app.get('/second', async (request, reply) => {
    reply.sse()
    setImmediate(failed.settle)
    throw teapot()
  })
  const { inbox, send } = await connect(t, await listen(app))
  send(get('/first') + get('/second', { headers: 'Connection: close\r\n' }))
  t.match(await inbox.ended(), /first[^]*HTTP\/1\.1 418 [^]*short and stout/)
})

t.test('a temporary rejection asks the client to retry, and a HEAD request gets 200', async t => {
  const { app } = await build(t)
  app.get('/', async (request, reply) => {
    reply.sse()
    throw Object.assign(new Error('later'), { statusCode: 503 })
  })
  const url = await listen(app)
  t.match(await fetchAll(t, url), { statusCode: 200, text: /^:\nretry: \d+\n$/ })
  t.match(await fetchAll(t, url, { method: 'HEAD' }), { statusCode: 200, text: '' })
})

t.test('a handler that fails because its client has left does no harm', async t => {
  const { app, reasons, log } = await build(t)
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    await stream.closed
    throw new Error('nobody is there')
  })
  const { inbox, close } = await open(t, await listen(app))
  await inbox.until(':\n')
  close()
  await log.until('nobody is there')
  t.match(linesWith(log, 'nobody is there'), [
    { level: 20, msg: 'the handler of an event stream failed after the stream was over' }
  ])
  t.same(reasons, ['client'])
})

t.test('a handler that fails for another reason after its stream has ended is logged as an error', async t => {
  const { app, reasons, log } = await build(t)
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    stream.end({ data: 'a' })
    throw new Error('not counted')
  })
  t.equal((await fetchAll(t, await listen(app))).text, ':\ndata: a\n\n')
  await log.until('not counted')
  t.match(linesWith(log, 'not counted'), [
    { level: 50, msg: 'the handler of an event stream failed after the stream was over' }
  ])
  t.same(reasons, ['end'])
})

t.test('a handler that is not of a route is left to Fastify, and must end its stream itself', async t => {
  const { app, reasons, log } = await build(t)
  app.setNotFoundHandler(async (request, reply) => {
    reply.code(200).sse()
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    throw teapot()
  })
  const { inbox, close } = await open(t, `${await listen(app)}/nowhere`)
  await log.until('Promise errored, but reply.sent = true was set')
  t.notOk(inbox.isOver)
  close()
  await log.until('"reason":"client"')
  t.same(reasons, ['client'])
})

t.test('a handler that returns the reply, or nothing, continues as usual; one without a stream fails as usual', async t => {
  const { app, reasons } = await build(t)
  app.get('/manual', async (request, reply) => {
    const stream = reply.sse()
    setImmediate(() => stream.end({ data: 'a' }))
    return reply
  })
  app.get('/plain', async () => ({ hello: 'world' }))
  app.get('/fails', async () => { throw teapot() })
  app.get('/throws', () => { throw teapot() })
  function named () { return 'x' }
  let name
  app.addHook('onRoute', route => { name = route.handler.name })
  app.get('/named', named)
  const url = await listen(app)
  t.equal((await fetchAll(t, `${url}/manual`)).text, ':\ndata: a\n\n')
  t.equal((await fetchAll(t, `${url}/plain`)).text, '{"hello":"world"}')
  t.equal((await fetchAll(t, `${url}/named`)).text, 'x')
  for (const path of ['fails', 'throws']) {
    t.match(await fetchAll(t, `${url}/${path}`), { statusCode: 418, text: JSON.stringify(TEAPOT) })
  }
  t.equal(name, 'named', 'tracing names its spans after the handler')
  t.same(reasons, ['end'])
})
