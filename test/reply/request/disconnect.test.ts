import t from 'tap'
import type { Test } from 'tap'
import type { FastifyServerOptions } from 'fastify'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { openHttp2, openSession } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'

/** Everything by which Node and Fastify report that the client of a request has disconnected, in alphabetical order. */
const ALL = ['close', 'onRequestAbort', 'signal']

/** An app whose streams last until their client disconnects, with the reports that their requests have received. */
async function serve (t: Test, options: object = {}) {
  const app = await buildApp(t, {}, options as FastifyServerOptions)
  const reports: string[] = []
  app.addHook('onRequestAbort', async request => { reports.push('onRequestAbort') })
  app.addHook('onRequest', async ({ raw, signal }) => {
    raw.on('close', () => reports.push('close'))
    signal.addEventListener('abort', () => reports.push('signal'))
  })
  app.get('/', (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) }))
  app.get('/ends', (request, reply) => reply.sse(['a']))
  app.get('/late', (request, reply) => reply.sse(async function * () {
    yield 'a'
    request.signal.addEventListener('abort', () => reports.push('signal of the source'))
    yield 'b'
    await new Promise(() => {})
  }))
  return { origin: await listen(app), reports }
}

// Regression: the body of a GET was read to its end at the start of its stream, even if there was none. Node then emits
// 'close' on the request: `request.raw.on('close', stop)` stopped the source of a stream that had just begun, and
// Fastify did not call onRequestAbort when the client disconnected. `reply.hijack()` disabled `request.signal`.
for (const options of [{}, { handlerTimeout: 60_000 }]) {
  t.test(`the request of a stream reports the disconnect of its client: ${JSON.stringify(options)}`, async t => {
    const { origin, reports } = await serve(t, options)
    const { inbox, close } = await open(t, origin)
    await inbox.until('data: a\n\n')
    t.same(reports, [], 'the stream is open')
    close()
    await until(() => reports.length === ALL.length)
    t.same(reports.sort(), ALL)
  })
}

t.test('over HTTP/2 the request of a stream reports the same', async t => {
  const { origin, reports } = await serve(t, { http2: true })
  const { inbox, stream } = await openHttp2(await openSession(t, origin), '/')
  await inbox.until('data: a\n\n')
  t.same(reports, [], 'the stream is open')
  stream.close(8)
  await until(() => reports.length === ALL.length)
  t.same(reports.sort(), ALL)
})

t.test('the signal of a request aborts for a source that asks for it late', async t => {
  const { origin, reports } = await serve(t)
  const { inbox, close } = await open(t, `${origin}/late`)
  await inbox.until('data: b\n\n')
  close()
  await until(() => reports.includes('signal of the source'))
})

t.test('the signal of a request does not abort when its stream ends by itself', async t => {
  const { origin, reports } = await serve(t)
  const { text } = await fetchAll(t, `${origin}/ends`)
  t.match(text, 'data: a\n\n')
  await until(() => reports.includes('close'))
  t.same(reports, ['close'])
})
