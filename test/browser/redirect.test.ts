import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { listen } from '../support/apps/app.ts'
import { Listener, openBrowser } from '../support/browser/browser.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

const browser = await openBrowser(t)

interface Seen { method: string, url: string, lastEventId: string | undefined }

/** An app with an empty page, which records all other requests. */
async function buildSite (t: Test): Promise<{ app: FastifyInstance, seen: Seen[] }> {
  const app = await buildTopicsApp(t, { sse: { retryMs: 50 } })
  const seen: Seen[] = []
  app.addHook('onRequest', async ({ method, url, lastEventId }) => {
    if (!url.startsWith('/page')) seen.push({ method, url, lastEventId })
  })
  app.get('/page', (request, reply) => reply.type('text/html').send('<!doctype html><title>test</title>'))
  return { app, seen }
}

for (const status of [301, 302, 303, 307, 308]) {
  t.test(`H29 a redirect with ${status} is followed, and the client resumes with its cursor at the new address`, async t => {
    const { app, seen } = await buildSite(t)
    app.get('/moved', (request, reply) => reply.redirect('/events?topic=news', status))
    const origin = await listen(app)
    const listener = await Listener.open(t, browser, { origin }, '/moved')
    const [first] = await publish(app, 'news', '1')
    await listener.untilMessages(1)
    app.server.closeAllConnections()
    await publish(app, 'news', '2')
    await listener.untilMessages(2)
    t.same(await listener.messages(), ['1', '2'])
    t.match(seen.filter(({ url }) => url.startsWith('/events')).at(-1)?.lastEventId, first)
  })
}

t.test('H33 across origins an EventSource sends its cursor without a preflight', async t => {
  const { app: pages } = await buildSite(t)
  const { app, seen } = await buildSite(t)
  await app.register(cors, { origin: true })
  app.get('/cors/events', (request, reply) => reply.sse(app.topics.subscribe('news')))
  const origin = await listen(app)
  const listener = await Listener.open(t, browser, { origin: await listen(pages) }, `${origin}/cors/events`)
  await publish(app, 'news', '1')
  await listener.untilMessages(1)
  app.server.closeAllConnections()
  const [second] = await publish(app, 'news', '2')
  await listener.untilMessages(2)
  app.server.closeAllConnections()
  await publish(app, 'news', '3')
  await listener.untilMessages(3)
  t.same(await listener.messages(), ['1', '2', '3'])
  t.same(new Set(seen.map(({ method }) => method)), new Set(['GET']))
  t.match(seen.at(-1)?.lastEventId, second)
})
