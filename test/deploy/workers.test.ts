import t from 'tap'
import type { Test } from 'tap'
import { run, runService } from '../support/processes/commands.ts'
import { certificateFiles } from '../support/network/http2-client.ts'
import { metricsOf } from '../support/service/metrics.ts'
import { call } from '../support/service/service-app.ts'
import { childrenOf, listen, pause, publish, startTeam } from '../support/processes/team.ts'

// WORKERS=n: several processes share one port.

t.test('two workers share a port, each with two connections to Redis, and an event accepted by one is sent by all', async t => {
  const { service, origin, redis } = await startTeam(t)
  t.equal(childrenOf(service.pid).length, 2)
  t.match(service.err, `resumable-sse listens on ${origin} (events in Redis)`)
  t.equal(service.err.match(/listens on/g)?.length, 1, 'reported once')
  const streams = await listen(t, origin, 6)
  for (const data of ['one', 'two', 'three']) t.equal((await publish(origin, data)).status, 201)
  for (const { inbox } of streams) t.match(await inbox.until('data: three\n\n'), /data: one\n\n(.|\n)*data: two\n\n/)
  const clients = await redis.with(async client => String(await client.client('LIST')))
  t.equal(clients.trim().split('\n').filter(line => !line.includes('cmd=client')).length, 4)
})

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  t.test(`${signal} to the primary drains all workers, and its exit code is 0`, async t => {
    const { service, origin } = await startTeam(t)
    const streams = await listen(t, origin, 6)
    const workers = childrenOf(service.pid)
    // Ctrl-C in a terminal reaches the workers, too, and so does its end.
    if (signal !== 'SIGTERM') for (const pid of workers) process.kill(pid, signal)
    service.kill(signal)
    for (const { inbox } of streams) t.match(await inbox.ended(), /retry: \d+\n$/)
    t.equal(await service.exit(), 0)
    t.same(workers.flatMap(childrenOf), [])
    for (const pid of workers) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  })
}

t.test('what prevents the first worker from listening is reported once, and the primary has the exit code of that worker', async t => {
  const { origin, redis } = await startTeam(t)
  const late = runService(t, { WORKERS: '3', REDIS_URL: redis.url, PORT: new URL(origin).port })
  t.equal(await late.exit(), 1)
  t.match(
    late.err,
    /^resumable-sse: .*EADDRINUSE.*: stop the program that listens there, or set PORT to another one\n$/
  )
  t.equal(late.err.split('\n').length, 2)
})

t.test('more than one worker without Redis is rejected', async t => {
  const service = runService(t, { WORKERS: '2', PORT: '8080' })
  t.equal(await service.exit(), 1)
  t.match(service.err, 'WORKERS=2 needs LOG=redis: LOG=lmdb supports one process only')
})

t.test('workers use TLS, and SIGHUP to the primary renews the certificate in all of them', async t => {
  const { cert, key } = certificateFiles(t)
  const { service, origin } = await startTeam(t, { TLS_CERT: cert, TLS_KEY: key })
  const curl = run(t, 'curl', ['-s', '--http2', '--cacert', cert, `${origin}/healthz`])
  t.equal(await curl.exit(), 0)
  t.equal(curl.out, '{"status":"ok"}')
  service.kill('SIGHUP')
  await service.until(({ out }) => out.match(/the certificate was reloaded/g)?.length === 2)
})

/** Opens streams that one worker accepts, because the other one is paused meanwhile. */
async function listenAt (t: Test, origin: string, count: number, other: number): Promise<void> {
  await pause(other)
  await listen(t, origin, count)
  process.kill(other, 'SIGCONT')
}

t.test('/metrics of any worker reports the sum over all', async t => {
  const { service, origin } = await startTeam(t)
  const [one = 0, other = 0] = childrenOf(service.pid)
  // Regression: of 300 concurrent requests two thirds were rejected, and Node warned of a leak.
  const many = await Promise.all(Array.from({ length: 100 }, () => call(`${origin}/metrics`)))
  t.same(many.map(({ status }) => status), many.map(() => 200))
  t.notMatch(service.out, 'MaxListeners')
  await listenAt(t, origin, 3, other)
  await listenAt(t, origin, 4, one)
  for (const data of ['1', '2', '3']) await publish(origin, data)
  for (const stopped of [one, other]) {
    const metrics = await metricsOf(origin)
    t.same([
      'streams_open', 'streams_opened_total', 'events_published_total', 'publishes_total{outcome="acknowledged"}'
    ].map(name => metrics.get(`sse_${name}`)), [7, 7, 3, 3])
    await pause(stopped)
    // The sum without one of the workers would be wrong.
    t.match(await call(`${origin}/metrics`), { status: 503, json: { code: 'SERVICE_METRICS_INCOMPLETE' } })
    process.kill(stopped, 'SIGCONT')
  }
})
