import t from 'tap'
import { buildApp } from '../../support/apps/app.ts'

const EVENTS = ':\ndata: 1\n\ndata: 2\n\n'

// Fastify types each hook separately; these have the same parameters.
for (const name of ['onRequest', 'preValidation', 'preHandler'] as 'preHandler'[]) {
  t.test(`a stream of a hook ${name} takes the place of the handler`, async t => {
    const app = await buildApp(t, { retryMs: false })
    app.addHook(name, async (request, reply) => request.url === '/async' ? reply.sse([1, 2]) : undefined)
    app.addHook(name, (request, reply, done) => {
      if (request.url === '/callback') void reply.sse([1, 2])
      else done()
    })
    let handled = 0
    for (const url of ['/async', '/callback']) app.get(url, async () => { handled++ })
    for (const url of ['/async', '/callback']) t.match(await app.inject(url), { statusCode: 200, body: EVENTS }, url)
    t.equal(handled, 0)
  })
}

t.test('a hook onSend cannot start a stream: the response is under way', async t => {
  const app = await buildApp(t)
  app.addHook('onSend', async (request, reply) => reply.sse([1, 2]))
  app.get('/', async () => ({}))
  const { statusCode, body } = await app.inject('/')
  t.equal(statusCode, 500)
  t.match(body, 'FST_SSE_ALREADY_STARTED')
})

t.test('a handler may await its stream', async t => {
  const app = await buildApp(t, { retryMs: false })
  let isAfter = false
  app.get('/', async (request, reply) => {
    await reply.sse([1, 2])
    isAfter = true
  })
  t.match(await app.inject('/'), { statusCode: 200, body: EVENTS })
  t.ok(isAfter)
})
