import rateLimit from '@fastify/rate-limit'
import { EventSource } from 'eventsource'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import type { SsePluginOptions } from '../../plugin/index.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import { buildApp, listen } from '../support/app.ts'
import { open } from '../support/client.ts'

// Any status but 200 ends an EventSource for good. Here the real client meets what may say "not now" before the first byte, and what
// it does then is looked at, not what was sent.

interface Case {
  server?: FastifyServerOptions
  plugin?: SsePluginOptions
  /** Adds `GET /events` and what is in its way. */
  build: (app: FastifyInstance, t: Test) => Promise<void> | void
  /** Once it listens. */
  then?: (app: FastifyInstance, origin: string, t: Test) => Promise<void> | void
}

const notNow = (): never => { throw Object.assign(new Error('not now'), { statusCode: 503 }) }
const addEvents = (app: FastifyInstance): void => { app.get('/events', { sse: {} }, (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) })) }

const NOT_NOW: Record<string, Case> = {
  // As @fastify/under-pressure answers, and a readiness hook.
  'an app that is still loading or under pressure': {
    build: app => {
      app.addHook('onRequest', async () => notNow())
      addEvents(app)
    }
  },
  'a session store that is away': { build: app => { app.get('/events', { sse: {}, preHandler: async () => notNow() }, (request, reply) => reply.sse('a')) } },
  handlerTimeout: {
    server: { handlerTimeout: 30 },
    build: app => { app.get('/events', { sse: {} }, (request, reply) => reply.sse(() => new Promise<string[]>(() => {}))) }
  },
  '@fastify/rate-limit': {
    build: async app => {
      await app.register(rateLimit, { max: 1, timeWindow: 60_000 })
      addEvents(app)
    },
    then: async (app, origin, t) => { (await open(t, `${origin}/events`)).close() }
  },
  'a limit of streams for each subject': {
    build: app => {
      let streams = 0
      app.get('/events', { sse: {} }, (request, reply) => reply.sse(() => streams++ === 0 ? (async function * () { yield 'a'; await new Promise(() => {}) })() : notNow()))
    },
    then: async (app, origin, t) => { await (await open(t, `${origin}/events`)).inbox.until('data: a') }
  },
  'an app that closes and answers meanwhile': {
    server: { return503OnClosing: false },
    plugin: { answersWhileClosing: true },
    build: (app, t) => {
      const { promise, settle } = deferred()
      t.teardown(() => settle())
      app.addHook('preClose', () => promise)
      addEvents(app)
    },
    then: app => { void app.close() }
  }
}

const FOR_GOOD: Record<string, Case> = {
  'a route without the option sse': { build: app => { app.get('/events', { onRequest: async () => notNow() }, (request, reply) => reply.sse('a')) } },
  'an error that is final': { build: app => { app.get('/events', { sse: {} }, (request, reply) => reply.sse(() => { throw Object.assign(new Error('never'), { statusCode: 403 }) })) } }
}

/** State of an EventSource after its first error: 0 where it comes back, 2 where it does not. */
async function stateAfterError (t: Test, { server = {}, plugin = {}, build, then }: Case): Promise<number> {
  const app = await buildApp(t, plugin, server)
  await build(app, t)
  const origin = await listen(app)
  await then?.(app, origin, t)
  const source = new EventSource(`${origin}/events`)
  t.teardown(() => source.close())
  return new Promise(resolve => { source.addEventListener('error', () => resolve(source.readyState)) })
}

for (const [name, each] of Object.entries(NOT_NOW)) {
  t.test(`an EventSource comes back after: ${name}`, async t => t.equal(await stateAfterError(t, each), 0))
}

for (const [name, each] of Object.entries(FOR_GOOD)) {
  t.test(`and does not after: ${name}`, async t => t.equal(await stateAfterError(t, each), 2))
}

t.test('an EventSource that was asked to retry gets in when there is room', async t => {
  const app = await buildApp(t)
  let requests = 0
  app.addHook('onRequest', async () => { if (++requests === 1) notNow() })
  addEvents(app)
  const source = new EventSource(`${await listen(app)}/events`)
  t.teardown(() => source.close())
  await new Promise<void>(resolve => { source.addEventListener('message', () => resolve()) })
  t.equal(requests, 2)
})
