import { once } from 'node:events'
import type { FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { buildApp, listen } from '../../support/apps/app.ts'
import { openHttp2, openSession } from '../../support/network/http2-client.ts'

// Regression: the last events and the abort of a stream that ends incomplete arrived together, and fetch discarded the
// events which the application had not read yet.

/** Less than a stream that is broken off stays open: both timers run in this process, so a busy machine delays both. */
const READ_LATE_MS = 50

const pause = async (): Promise<void> => await new Promise(resolve => { setTimeout(resolve, READ_LATE_MS) })

async function serve (t: Test, options: FastifyServerOptions = {}): Promise<string> {
  const app = await buildApp(t, {}, options)
  app.get('/', (request, reply) => reply.sse(stream => {
    stream.push({ data: 'last' })
    stream.breakOff()
  }))
  return await listen(app)
}

t.test('fetch reads what was written before the abort, also with gzip, even if it reads late', async t => {
  const origin = await serve(t)
  for (const encoding of ['identity', 'gzip']) {
    const response = await fetch(origin, { headers: { 'accept-encoding': encoding } })
    await pause()
    const reader = response.body!.getReader()
    let text = ''
    await t.rejects(async () => {
      for (;;) text += Buffer.from((await reader.read()).value!).toString()
    }, { message: 'terminated' })
    t.equal(text, ':\nretry: 3000\ndata: last\n\n', encoding)
  }
})

t.test('over HTTP/2 the stream is reset after what was written has been read', async t => {
  const origin = await serve(t, { http2: true } as FastifyServerOptions)
  const { inbox, stream } = await openHttp2(await openSession(t, origin), '/')
  await pause()
  t.notOk(stream.destroyed)
  const [error] = await once(stream, 'error')
  t.match(error, { code: 'ERR_HTTP2_STREAM_ERROR' })
  t.match(await inbox.ended(), 'data: last')
})
