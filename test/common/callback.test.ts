import { once } from 'node:events'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../plugin/index.ts'
import { auth, Grant } from '../../plugin/auth/index.ts'
import { injectSse } from '../../plugin/testing/index.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'
import type { TopicsObserver } from '../../plugin/topics/index.ts'
import { Inbox } from '../support/clients/inbox.ts'
import { linesWith, logInto } from '../support/log.ts'
import { until } from '../support/until.ts'

// Regression: exceptions of these callbacks became unhandled rejections, uncaught exceptions or error responses.

const broken = (): never => { throw new Error('broken callback') }
const rejecting = (async () => broken()) as () => void

/** An app with a log, and the reports about a callback in it. */
async function start (t: Test, observer?: TopicsObserver) {
  const log = new Inbox()
  const app = Fastify({ logger: logInto(log, 'error') })
  t.teardown(() => app.close())
  await app.register(sse, { drainMs: 500 })
  await app.register(topics, { log: new MemoryLog(), ...observer && { observer } })
  const reports = () => linesWith(log, 'broken callback').map(({ msg }) => msg)
  return { app, reports }
}

for (const onAppend of [broken, rejecting]) {
  t.test(`an onAppend that ${onAppend === broken ? 'throws' : 'rejects'} is logged, and its producer continues`, async t => {
    const { app, reports } = await start(t)
    const first = await app.topics.produce('a', async function * ({ signal }) {
      yield '1'
      if (!signal.aborted) await once(signal, 'abort')
    }, { producerId: 'p', batchMs: 0, onAppend })
    await until(() => first.accepted === 1)
    // It is continued: its callback is called before anything is appended.
    const second = await app.topics.produce('a', ['1', '2'], { producerId: 'p', onAppend })
    t.same(await first.done, { reason: 'superseded' })
    t.same(await second.done, { reason: 'done' })
    t.match(await app.topics.info('a'), { isClosed: true, reason: 'done', count: 2 })
    t.same(reports(), Array(3).fill('the onAppend callback of a producer failed'))
  })
}

t.test('an observer that throws affects neither the streams nor the process, and does not fill the log', async t => {
  const observer = { onResume: broken, onGap: broken, onBatch: broken, onResync: broken }
  const { app, reports } = await start(t, observer)
  app.get('/', (_request, reply) => reply.sse(app.topics.subscribe('a')))
  const { ids } = await app.topics.publish('a', { data: '0' })
  const stream = await injectSse(app, { url: '/', headers: { 'last-event-id': ids[0]! } })
  t.match(await stream.next(), [{ event: 'stream.open' }])
  for (const data of ['1', '2']) {
    await app.topics.publish('a', { data })
    t.match(await stream.next(), [{ data }])
  }
  const expected = ['onResume', 'onBatch'].map(name => `the method ${name} of the observer failed`)
  t.same(reports().filter(report => !String(report).includes('onResync')), expected, 'each method once per minute')
})

t.test('a callback of onRevoked that throws does not keep others from being called', async t => {
  const { app, reports } = await start(t)
  await app.register(auth, { cookie: { name: 'session', verify: async () => null } })
  const grant = new Grant({ subject: 'ann' }, 'cookie')
  const called: string[] = []
  app.auth.onRevoked(grant, broken)
  app.auth.onRevoked(grant, () => { called.push('second') })
  await app.auth.revoke({ subject: 'ann' })
  app.auth.onRevoked(grant, rejecting)
  app.auth.onRevoked(grant, broken)
  await until(() => reports().length === 3)
  t.same(called, ['second'])
  t.same(reports(), Array(3).fill('the onRevoked callback failed'))
})

t.test('a listener of app.sse.streams that throws affects no response and no other listener, and can be removed', async t => {
  const { app, reports } = await start(t)
  app.get('/', (_request, reply) => reply.sse('a'))
  const calls: string[] = []
  const removers = [
    app.sse.streams.onClose(broken), app.sse.streams.onClose(reason => { calls.push(reason) })
  ]
  const responses = [await app.inject('/')]
  for (const remove of removers) remove()
  responses.push(await app.inject('/'))
  t.same(responses.map(({ statusCode }) => statusCode), [200, 200])
  t.same(calls, ['end'])
  t.same(reports(), ['the close listener of app.sse.streams failed'])
})
