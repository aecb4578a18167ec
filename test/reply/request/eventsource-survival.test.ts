import rateLimit from '@fastify/rate-limit'
import { EventSource } from 'eventsource'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import type { SsePluginOptions } from '../../../plugin/index.ts'
import { deferred } from '../../../plugin/common/deferred.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { open } from '../../support/clients/client.ts'

// Any status except 200 ends an EventSource permanently. Here a real client meets everything that can respond with "not
// now" before the first byte, and the test checks the client's reaction instead of the response.

interface Case {
  server?: FastifyServerOptions
  plugin?: SsePluginOptions
  /** Adds `GET /events`, and the code that interferes with it. */
  build: (app: FastifyInstance, t: Test) => Promise<void> | void
  /** Called once the app listens. */
  then?: (app: FastifyInstance, origin: string, t: Test) => Promise<void> | void
}

const notNow = (): never => { throw Object.assign(new Error('not now'), { statusCode: 503 }) }
const addEvents = (app: FastifyInstance): void => {
  app.get('/events', { sse: {} }, (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) }))
}

const NOT_NOW: Record<string, Case> = {
  // The responses of @fastify/under-pressure, and of a readiness hook.
  'an app that is still loading or under pressure': {
    build: app => {
      app.addHook('onRequest', async () => notNow())
      addEvents(app)
    }
  },
  'an unavailable session store': {
    build: app => {
      app.get('/events', { sse: {}, preHandler: async () => notNow() }, (request, reply) => reply.sse('a'))
    }
  },
  handlerTimeout: {
    server: { handlerTimeout: 30 },
    build: app => {
      app.get('/events', { sse: {} }, (request, reply) => reply.sse(() => new Promise<string[]>(() => {})))
    }
  },
  '@fastify/rate-limit': {
    build: async app => {
      await app.register(rateLimit, { max: 1, timeWindow: 60_000 })
      addEvents(app)
    },
    then: async (app, origin, t) => { (await open(t, `${origin}/events`)).close() }
  },
  'a limit on the streams of each subject': {
    build: app => {
      let streams = 0
      app.get('/events', { sse: {} }, (request, reply) => reply.sse(
        () => streams++ === 0 ? (async function * () { yield 'a'; await new Promise(() => {}) })() : notNow()
      ))
    },
    then: async (app, origin, t) => { await (await open(t, `${origin}/events`)).inbox.until('data: a') }
  },
  'an app that responds while it closes': {
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
  'a route without the option sse': {
    build: app => { app.get('/events', { onRequest: async () => notNow() }, (request, reply) => reply.sse('a')) }
  },
  'a permanent error': {
    build: app => {
      app.get('/events', { sse: {} }, (request, reply) => reply.sse(() => {
        throw Object.assign(new Error('never'), { statusCode: 403 })
      }))
    }
  }
}

/** The state of an EventSource after its first error: 0 if it reconnects, 2 if it does not. */
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
  t.test(`an EventSource reconnects after: ${name}`, async t => t.equal(await stateAfterError(t, each), 0))
}

for (const [name, each] of Object.entries(FOR_GOOD)) {
  t.test(`an EventSource does not reconnect after: ${name}`, async t => t.equal(await stateAfterError(t, each), 2))
}

t.test('an EventSource that was asked to retry connects when there is room', async t => {
  const app = await buildApp(t)
  let requests = 0
  app.addHook('onRequest', async () => { if (++requests === 1) notNow() })
  addEvents(app)
  const source = new EventSource(`${await listen(app)}/events`)
  t.teardown(() => source.close())
  await new Promise<void>(resolve => { source.addEventListener('message', () => resolve()) })
  t.equal(requests, 2)
})
