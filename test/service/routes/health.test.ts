import t from 'tap'
import type { Test } from 'tap'
import { open } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { call, TestService } from '../../support/service/service-app.ts'
import type { Answer } from '../../support/service/service-app.ts'
import { ServiceProcess } from '../../support/service/service-process.ts'

interface Readiness {
  status: string
  checks: Record<string, { isOk: boolean, problem?: string, ms?: number, ageMs?: number }>
}

async function readiness (origin: string): Promise<{ status: number, body: Readiness }> {
  const { status, json } = await call(`${origin}/readyz`)
  return { status, body: json as Readiness }
}

/** Which of the checks pass. */
async function holding (origin: string): Promise<Record<string, boolean>> {
  const { body: { checks } } = await readiness(origin)
  return Object.fromEntries(Object.entries(checks).map(([name, { isOk }]) => [name, isOk]))
}

for (const LOG of ['memory', 'lmdb']) {
  t.test(`a service on ${LOG} is ready when its log responds, and has no probe`, async t => {
    const service = await TestService.start(t, { LOG, DATA_DIR: t.testdir() })
    t.match(await readiness(service.origin), {
      status: 200, body: { status: 'ready', checks: { log: { isOk: true, ms: Number }, draining: { isOk: true } } }
    })
    t.same(await holding(service.origin), { log: true, draining: true })
  })
}

async function startOnRedis (t: Test): Promise<{ redis: RedisServer, service: TestService }> {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  await until(async () => (await readiness(service.origin)).status === 200)
  return { redis, service }
}

t.test('a service on Redis is ready while Redis responds and its messages arrive', async t => {
  const { service } = await startOnRedis(t)
  t.match(await readiness(service.origin), {
    status: 200,
    body: {
      status: 'ready', checks: { log: { isOk: true }, canary: { isOk: true, ageMs: Number }, draining: { isOk: true } }
    }
  })
})

t.test('while Redis is paused the service is not ready, however often its readiness is checked, and its streams stay', async t => {
  const { redis, service } = await startOnRedis(t)
  const { inbox } = await open(t, `${service.origin}/events?topic=news`)
  await inbox.until('stream.open')
  redis.pause()
  const answers = await Promise.all([1, 2, 3].map(() => readiness(service.origin)))
  for (const answer of answers) {
    t.match(answer, {
      status: 503,
      body: { status: 'not ready', checks: { log: { isOk: false, problem: 'the log has not responded for 2000 ms' } } }
    })
  }
  t.equal((await service.call('/healthz')).status, 200, 'there is no reason to restart it')
  const alone = await service.call('/readyz?check=draining')
  t.match(alone, { status: 200, json: { status: 'ready', checks: { log: { isOk: false }, draining: { isOk: true } } } })
  t.match((await service.call('/readyz?check=log')).status, 503)
  t.match((await service.call('/readyz?check=none')).status, 400)
  redis.unpause()
  await until(async () => (await readiness(service.origin)).status === 200)
  await service.publish('news', { data: 'after' })
  await inbox.until('data: after\n')
})

t.test('while Redis is unavailable the service is not ready, and reports the reason', async t => {
  const { redis, service } = await startOnRedis(t)
  await redis.kill()
  await until(async () => (await readiness(service.origin)).status === 503)
  const { body } = await readiness(service.origin)
  t.same(Object.keys(body.checks), ['log', 'canary', 'draining'])
  t.match(body.checks.log, { isOk: false, problem: /^the log is not available: / })
  await redis.start()
  await until(async () => (await readiness(service.origin)).status === 200)
})

t.test('a service whose messages do not arrive is not ready, even if Redis responds', async t => {
  const { redis, service } = await startOnRedis(t)
  const run = (...words: [string, ...string[]]) => redis.with(client => client.call(...words))
  await run('ACL', 'SETUSER', 'default', '-subscribe')
  await run('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(async () => {
    const { log, canary } = await holding(service.origin)
    return log === true && canary === false
  })
  await run('ACL', 'SETUSER', 'default', '+subscribe')
  await until(async () => (await readiness(service.origin)).status === 200)
})

const COME_BACK = /^:\nretry: 3000\nretry: \d+\n$/
const publish = (origin: string, data: string): Promise<Answer> =>
  call(`${origin}/topics/news/events`, { method: 'POST', body: { data } })

t.test('on a signal it is no longer ready at once, accepts no new streams, and continues to serve until the delay has passed', async t => {
  const service = await ServiceProcess.start(t, { DRAIN_DELAY_MS: '2147483647' })
  const { origin, command } = service
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  command.kill('SIGTERM')
  await until(async () => (await readiness(origin)).status === 503)
  t.same(await holding(origin), { log: true, draining: false })
  t.equal((await publish(origin, 'still served')).status, 201)
  t.equal((await call(`${origin}/readyz?check=draining`)).status, 503)
  await inbox.until('data: still served\n')
  const late = await open(t, `${origin}/events?topic=news`)
  t.equal(late.statusCode, 200)
  t.match(await late.inbox.ended(), COME_BACK)
  t.match((await call(`${origin}/events?topic=news`, { headers: { accept: '*/*' } })).json, {
    statusCode: 503, code: 'SERVICE_DRAINING'
  })
  t.match((await call(`${origin}/metrics`)).text, /\nsse_draining 1\n/)
  t.equal(inbox.isOver, false)
  command.kill('SIGTERM')
  t.equal(await command.exit(), 1, 'a second signal ends it at once')
})

t.test('an app that drains reports it, rejects streams and closes by itself; one that closes drains as well', async t => {
  const waiting = await TestService.start(t, { DRAIN_DELAY_MS: '2147483647' })
  void waiting.app.drain()
  t.same(await holding(waiting.origin), { log: true, draining: false })
  t.match(await (await open(t, `${waiting.origin}/events?topic=news`)).inbox.ended(), COME_BACK)
  t.match((await call(`${waiting.origin}/events?topic=news`, { headers: { accept: '*/*' } })).json, {
    code: 'SERVICE_DRAINING'
  })
  const quick = await TestService.start(t)
  await quick.app.drain()
  t.equal(quick.app.server.listening, false)
})

// Regression: preClose hooks run one after the other, and the state was set by a hook after the plugin's, which waits
// for the streams: a plain close() stayed ready until they had ended.
t.test('an app that closes is no longer ready while its streams end', async t => {
  const { app, origin } = await TestService.start(t)
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  const [stream] = app.sse.streams
  const end = stream!.closeWithRetry.bind(stream)
  const seen = new Promise<Record<string, boolean>>((resolve, reject) => {
    stream!.closeWithRetry = (...args) => {
      holding(origin).finally(() => end(...args)).then(resolve, reject)
    }
  })
  const closing = app.close()
  t.same(await seen, { log: true, draining: false })
  await closing
})

t.test('after the delay it ends its streams and exits with 0', async t => {
  const service = await ServiceProcess.start(t, { DRAIN_DELAY_MS: '100', DRAIN_MS: '1000' })
  const { inbox } = await open(t, `${service.origin}/events?topic=news`)
  await inbox.until('stream.open')
  service.command.kill('SIGTERM')
  t.match(await inbox.ended(), /event: stream.open\ndata: \n\nretry: \d+\n$/)
  t.equal(await service.command.exit(), 0)
})
