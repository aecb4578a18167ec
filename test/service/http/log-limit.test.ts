import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { LogLimit } from '../../../service/http/log-limit.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'

const NEVER_MS = 2_147_483_647

/** An app with a limited log, and a logger like that of a request. */
function limited (
  t: Test,
  quietMs: number,
  repeatMs?: number
): { app: FastifyInstance, log: Inbox, request: FastifyInstance['log'] } {
  const log = new Inbox()
  const limit = new LogLimit(quietMs, repeatMs)
  const app = Fastify({ logger: { ...logInto(log, 'info'), hooks: limit.hooks } })
  limit.start(app)
  t.teardown(() => app.close())
  return { app, log, request: app.log.child({ reqId: 'req-1' }) }
}

t.test('problems are grouped by their code, their reason or their message', async t => {
  const { request, log } = limited(t, NEVER_MS)
  for (let times = 0; times < 3; times++) {
    request.warn({ code: 'A' }, 'by code')
    request.error({ err: Object.assign(new Error('x'), { code: 'B' }) }, 'by code of the error')
    request.warn({ sse: { reason: 'slow' } }, 'by reason')
    request.error({ err: new Error(`${times}`) }, 'by message')
    request.error('text alone')
    request.error('another text alone')
  }
  t.equal(log.text.trim().split('\n').length, 6, log.text)
})

t.test('once no request meets a problem, one line reports how many did; a single occurrence is not reported again', async t => {
  const { request, log } = limited(t, 1)
  // The timer of the limit does not keep a process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  for (let times = 0; times < 1_000; times++) request.warn({ code: 'A' }, 'away')
  request.warn({ code: 'B' }, 'once')
  await log.until('"trouble"')
  t.match(linesWith(log, '"trouble"'), [{ level: 40, trouble: 'A', requests: 1_000 }])
  request.warn({ code: 'A' }, 'away again')
  t.equal(linesWith(log, 'away again').length, 1, 'the next problem is logged as the first one was')
})

t.test('a problem that does not pause is logged again from time to time, with its newest reason', async t => {
  const { request, log } = limited(t, NEVER_MS, 1)
  request.warn({ code: 'A' }, 'timed out')
  while (!log.text.includes('out of memory')) request.warn({ code: 'A' }, 'out of memory')
  t.match(linesWith(log, '"trouble"'), [{ level: 40, trouble: 'A' }], 'the number so far is logged first')
  const { request: another, log: quiet } = limited(t, NEVER_MS)
  for (let times = 0; times < 1_000; times++) another.warn({ code: 'A' }, 'away')
  t.equal(linesWith(quiet, 'away').length, 1, 'but not for ten minutes')
})

t.test('counted problems are reported when the app closes', async t => {
  const { app, request, log } = limited(t, NEVER_MS)
  for (const code of ['A', 'A', 'B']) request.warn({ code }, 'away')
  await app.close()
  t.match(linesWith(log, '"trouble"'), [{ trouble: 'A', requests: 2 }])
})

t.test('lines below warn, and lines not caused by a request, are not limited', async t => {
  const { app, request, log } = limited(t, NEVER_MS)
  for (const each of [1, 2]) {
    request.info(`info ${each}`)
    app.log.error({ code: 'A' }, `own ${each}`)
  }
  t.equal(log.text.trim().split('\n').length, 4)
})

t.test('messages that never repeat cause no more than a fixed number of lines', async t => {
  const { request, log } = limited(t, NEVER_MS)
  for (let each = 0; each < 10_000; each++) request.error(`bug ${each}`)
  t.equal(log.text.trim().split('\n').length, 101)
})
