import t from 'tap'
import { EventSource } from 'eventsource'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { buildService, readConfig } from '../../../service/index.ts'
import { listen } from '../../support/apps/app.ts'
import { open } from '../../support/clients/client.ts'
import { stablePort } from '../../support/network/ports.ts'

// Regression: any status except 200 ends an EventSource permanently. The service's gate and guard responded with 200
// and `retry:` for temporary errors, but a 429 or 503 of any other hook was sent unchanged, and ended it.

interface Case {
  env?: Record<string, string>
  /** The topics to subscribe to, one by default. */
  query?: string
  before?: (app: FastifyInstance) => void
  /** Called once the app listens. */
  then?: (t: Test, app: FastifyInstance, origin: string) => Promise<void>
}

const EVENTS = '/events?topic=news'
const failing = (statusCode: number) => async ({ url }: { url: string }): Promise<void> => {
  if (url.startsWith('/events')) throw Object.assign(new Error('not now'), { statusCode })
}
const occupy = async (t: Test, app: FastifyInstance, origin: string): Promise<void> => {
  const { inbox } = await open(t, origin + EVENTS)
  await inbox.until('stream.open')
}

const NOT_NOW: Record<string, Case> = {
  MAX_STREAMS: { env: { MAX_STREAMS: '1' }, then: occupy },
  MAX_STREAMS_PER_ADDRESS: { env: { MAX_STREAMS_PER_ADDRESS: '1' }, then: occupy },
  MAX_TOPICS: { env: { MAX_TOPICS: '1', MAX_TOPICS_PER_STREAM: '1' }, query: '?topic=other', then: occupy },
  'a drain that has begun': { env: { DRAIN_DELAY_MS: '60000' }, then: async (t, app) => { void app.drain() } },
  'Redis away': { env: { LOG: 'redis', REDIS_URL: '' } },
  '429 of onRequest': { before: app => { app.addHook('onRequest', failing(429)) } },
  '503 of preParsing': { before: app => { app.addHook('preParsing', failing(503)) } },
  '503 of preValidation': { before: app => { app.addHook('preValidation', failing(503)) } },
  '429 of preHandler': { before: app => { app.addHook('preHandler', failing(429)) } },
  '503 of onSend': {
    before: app => {
      app.addHook('onSend', async request => {
        if (!('isTried' in request)) { Object.assign(request, { isTried: true }); await failing(503)(request) }
      })
    }
  }
}

const FOR_GOOD: Record<string, Case> = {
  'a query without a topic': { query: '' },
  'an unknown parameter': { query: '?topic=a&x=1' },
  'a topic that is none': { query: '?topic=a%20b' },
  '403 of a hook': { before: app => { app.addHook('onRequest', failing(403)) } },
  '500 of a hook': { before: app => { app.addHook('onRequest', failing(500)) } }
}

/** The state of an EventSource after its first error: 0 if it reconnects, 2 if it does not. */
async function stateAfterError (t: Test, { env = {}, query = '?topic=news', before, then }: Case): Promise<number> {
  const redisUrl = env.LOG === 'redis' ? { REDIS_URL: `redis://127.0.0.1:${await stablePort()}` } : {}
  const app = await buildService(readConfig({
    LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', ...env, ...redisUrl
  }))
  t.teardown(() => app.close())
  before?.(app)
  const origin = await listen(app)
  await then?.(t, app, origin)
  const source = new EventSource(`${origin}/events${query}`)
  t.teardown(() => { source.close() })
  return new Promise(resolve => { source.onerror = () => { resolve(source.readyState) } })
}

t.test('temporary failures do not end an EventSource', async t => {
  for (const [what, each] of Object.entries(NOT_NOW)) {
    t.equal(await stateAfterError(t, each), EventSource.CONNECTING, what)
  }
})

t.test('permanent failures end it', async t => {
  for (const [what, each] of Object.entries(FOR_GOOD)) t.equal(await stateAfterError(t, each), EventSource.CLOSED, what)
})
