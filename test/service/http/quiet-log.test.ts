import createError from '@fastify/error'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { QuietLog, serializers } from '../../../service/http/quiet-log.ts'
import { errorHandling } from '../../../service/http/error-handler.ts'
import { errors } from '../../../plugin/topics/errors.ts'
import { originIn, runService, startService } from '../../support/processes/commands.ts'
import type { Command } from '../../support/processes/commands.ts'
import { open } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'
import { call } from '../../support/service/service-app.ts'

const NotMine = createError('NOT_MINE', 'no such thing', 404)

/** An app with routes that fail in every way, and its log. */
async function buildFailing (t: Test, level: string): Promise<{ app: FastifyInstance, log: Inbox }> {
  const log = new Inbox()
  const app = Fastify({ logger: { ...logInto(log, level), serializers }, logController: new QuietLog() })
  t.teardown(() => app.close())
  await app.register(errorHandling, { maxBodyBytes: 1_024 })
  app.get('/good', () => 'good')
  app.get('/mistake', () => { throw new NotMine() })
  app.get('/away', () => { throw new errors.TOPICS_LOG_UNAVAILABLE('a test') })
  app.get('/bug', () => { throw new Error('a bug') })
  return { app, log }
}

t.test('successful requests and mistakes of clients are not logged', async t => {
  const { app, log } = await buildFailing(t, 'info')
  for (const url of ['/good', '/mistake', '/nowhere']) await app.inject(url)
  t.equal(log.text, '')
})

t.test('a mistake of a client is one line at debug, without a stack', async t => {
  const { app, log } = await buildFailing(t, 'debug')
  await app.inject('/mistake')
  const [line] = linesWith(log, 'NOT_MINE')
  t.match(line, { level: 20, statusCode: 404, code: 'NOT_MINE', msg: 'request rejected' })
  t.notMatch(log.text, 'stack')
})

t.test('an unavailable log is one line at warn, without a stack', async t => {
  const { app, log } = await buildFailing(t, 'info')
  t.match((await app.inject('/away')).statusCode, 503)
  t.match(linesWith(log, 'TOPICS_LOG_UNAVAILABLE'), [
    { level: 40, statusCode: 503, msg: 'the log is not available: a test' }
  ])
  t.notMatch(log.text, 'stack')
})

t.test('an unexpected error is logged with its stack', async t => {
  const { app, log } = await buildFailing(t, 'info')
  const answer = await app.inject('/bug?ot=secret')
  t.same(answer.json(), {
    statusCode: 500, code: 'INTERNAL_SERVER_ERROR', error: 'Internal Server Error', message: 'Internal Server Error'
  })
  t.match(linesWith(log, 'a bug'), [
    { level: 50, err: { stack: /quiet-log.test/ }, req: { method: 'GET', path: '/bug' } }
  ])
  t.notMatch(log.text, 'secret')
})

t.test('only known fields of an error and its causes are logged, and a temporary error without a stack', async t => {
  const told = (error: unknown) => JSON.parse(JSON.stringify(serializers.err(error as Error))) as object
  const cause = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['secret'] }, code: 'E' })
  const bug = Object.assign(new TypeError('a bug', { cause }), { password: 'secret' })
  t.same(told(bug), {
    type: 'TypeError',
    message: 'a bug',
    stack: bug.stack,
    cause: { type: 'Error', message: 'WRONGPASS', code: 'E', stack: cause.stack }
  })
  const away = Object.assign(new errors.TOPICS_LOG_UNAVAILABLE('a test'), { cause })
  t.same(told(away), {
    type: away.name,
    message: away.message,
    code: 'TOPICS_LOG_UNAVAILABLE',
    statusCode: 503,
    cause: {
      type: 'Error', message: 'WRONGPASS', code: 'E'
    }
  })
  t.notMatch(Object.keys(told(Object.assign(new Error('too many'), { statusCode: 429 }))), ['stack'])
  t.equal(serializers.err('thrown by hand' as unknown as Error), 'thrown by hand')
})

t.test('with Redis unavailable the service starts, logs it, and responds with 503', async t => {
  const service = runService(t, { REDIS_URL: 'redis://127.0.0.1:1' })
  await service.until(({ err }) => err.includes('Publish:'))
  t.match(service.err, '(events in Redis)')
  t.match(await call(`${originIn(service.err)}/topics/news/events`, { method: 'POST', body: { data: 1 } }), {
    status: 503, json: { code: 'TOPICS_LOG_UNAVAILABLE' }
  })
  await service.until(
    ({ out }) => out.includes('TOPICS_LOG_UNAVAILABLE') && /"level":40.*the command connection failed/.test(out)
  )
})

/** The lines above `info` that requests caused in the service's log. */
function troublesOf (service: Command): Record<string, unknown>[] {
  const lines = service.out.trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
  return lines.filter(({ level, reqId, trouble }) => Number(level) > 30 && (reqId ?? trouble) !== undefined)
}

// Regression: with Redis down, 1,000 requests per second were 1,000 lines per second, which a client without
// credentials could cause (S18).
t.test('requests with the same problem are two lines: the first request completely, and at the end their number', async t => {
  const service = runService(t, { REDIS_URL: 'redis://127.0.0.1:1' })
  await service.until(({ err }) => err.includes('listens on'))
  const origin = originIn(service.err)
  const sse = { accept: 'text/event-stream' }
  t.match(await call(`${origin}/events?topic=a&topic=b`, { headers: sse }), {
    status: 200, text: /^:?[^]*retry: \d+\n$/
  })
  for (const [method, path] of [
    ['GET', '/events?topic=a'], ['GET', '/topics/a'], ['POST', '/topics/a/close'], ['DELETE', '/topics/a']
  ] as const) t.equal((await call(origin + path, { method })).status, 503, path)
  t.equal((await call(`${origin}/topics/a/events`, { method: 'POST', body: { data: 1 } })).status, 503)
  await service.stop()
  const troubles = troublesOf(service)
  t.match(troubles[0], { topics: ['a', 'b'], err: { code: 'TOPICS_LOG_UNAVAILABLE' } })
  // On a machine that is stalled for 10 s between two requests the problem counts as over in between.
  const counted = troubles.filter(({ trouble }) => trouble === 'TOPICS_LOG_UNAVAILABLE')
  t.match(counted.at(-1), { level: 40, durationMs: Number })
  t.ok(troubles.length < 6, `${troubles.length} lines`)
})

t.test('each kind of problem has its own line, which contains the topics of the request', async t => {
  const { service, origin } = await startService(t, { LOG: 'memory', MAX_STREAMS: '1' })
  await open(t, `${origin}/events?topic=a`)
  const { inbox } = await open(t, `${origin}/events?topic=b`)
  t.match(await inbox.ended(), 'retry: ')
  t.equal((await call(`${origin}/events?topic=c`)).status, 503)
  await service.stop()
  t.match(troublesOf(service)[0], { level: 40, topics: ['b'], err: { code: 'SERVICE_TOO_MANY_STREAMS' } })
})

t.test('at debug every request that met a problem has its line', async t => {
  const { service, origin } = await startService(t, { LOG: 'memory', MAX_STREAMS: '1', LOG_LEVEL: 'debug' })
  await open(t, `${origin}/events?topic=a`)
  for (const topic of ['b', 'c']) t.equal((await call(`${origin}/events?topic=${topic}`)).status, 503)
  await service.until(() => troublesOf(service).length >= 2)
  t.match(troublesOf(service), [{ level: 40, req: { path: '/events' } }, { level: 40, req: { path: '/events' } }])
})
