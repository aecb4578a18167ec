import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { open } from '../support/clients/client.ts'
import { run } from '../support/processes/commands.ts'
import { checkExactness } from '../support/exactness.ts'
import { Nginx, startDeployedNginx } from '../support/network/nginx.ts'
import { LiveSender } from '../support/service/live-sender.ts'
import { until } from '../support/until.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { ResumingClient } from '../support/clients/resuming-client.ts'
import { call } from '../support/service/service-app.ts'
import { stablePort } from '../support/network/ports.ts'
import { ServiceProcess } from '../support/service/service-process.ts'
import { StubbornPublisher } from '../support/service/stubborn-publisher.ts'
import type { Test } from 'tap'

// A real nginx in front of two real instances, with deploy/nginx.conf and with only proxy_pass.

/** Two instances on one Redis, for nginx to use. */
async function startInstances (t: Test, env: Record<string, string> = {}): Promise<[ServiceProcess, ServiceProcess]> {
  const redis = await RedisServer.start(t)
  const start = () => ServiceProcess.start(t, { REDIS_URL: redis.url, TRUST_PROXY: '127.0.0.1', ...env })
  return [await start(), await start()]
}

const publish = (origin: string, body: string) =>
  call(`${origin}/topics/news/events`, { method: 'POST', body, type: 'text/plain' })

t.test('nginx accepts deploy/nginx.conf; events are passed on at once over HTTP/2, HTTP/1.1 and without TLS, and internal paths stay internal', async t => {
  const [one, two] = await startInstances(t)
  const { nginx, http, https, cert } = await startDeployedNginx(t, [one.port, two.port])
  t.match(await nginx.test(), 'test is successful')
  const curls = ['--http2', '--http1.1'].map(version => run(t, 'curl', [
    '-sN', version, '--cacert', cert, `${https}/events?topic=news`
  ]))
  for (const curl of curls) await curl.until(({ out }) => out.includes('stream.open'))
  const plain = await open(t, `${http}/events?topic=news`)
  await plain.inbox.until('stream.open')
  t.equal((await publish(http, 'at once')).status, 201)
  for (const curl of curls) await curl.until(({ out }) => out.includes('data: at once\n\n'))
  await plain.inbox.until('data: at once\n\n')
  for (const path of ['/metrics', '/healthz', '/readyz', '/console', '/console/console.js', '/openapi.json', '/']) {
    t.equal((await call(http + path)).status, 404, path)
  }
  t.equal((await call(`${http}/topics/news`)).status, 200)
  t.match((await call(`${http}/events/none`)).json, { statusCode: 404 }, 'the service responds')
})

t.test('an idle stream outlasts proxy_read_timeout through its heartbeats', async t => {
  const [one, two] = await startInstances(t, { HEARTBEAT_MS: '100' })
  const { http } = await startDeployedNginx(
    t,
    [one.port, two.port],
    config => config.replace('proxy_read_timeout 60s', 'proxy_read_timeout 2s')
  )
  const { inbox } = await open(t, `${http}/events?topic=news`)
  await inbox.until(text => (text.split('stream.open')[1]?.match(/^:$/gm)?.length ?? 0) >= 25)
  await publish(http, 'still there')
  await inbox.until('data: still there\n\n')
})

// Regression: the body was buffered until its end, and rejected after 17 MB.
t.test('a live publish is passed on as it arrives, however long it is', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(
    t,
    [one.port, two.port],
    config => config.replace('client_max_body_size 17m', 'client_max_body_size 100')
  )
  const sender = new LiveSender(t, http, 'build/17')
  const accepted = async () =>
    ((await call(`${two.origin}/topics/build%2F17/producer`)).json as { accepted: number }).accepted
  for (let lines = 1; lines <= 3; lines++) {
    sender.write(`${'x'.repeat(100)}\n`)
    await until(async () => await accepted() === lines)
  }
  sender.end()
  t.match(await sender.ended, { status: 200, json: { accepted: 3 } })
})

// Regression: nginx cut a build that printed nothing for a minute.
t.test('a live publish may be silent for longer than nginx waits for other bodies', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(
    t,
    [one.port, two.port],
    config => config.replace('client_max_body_size 17m;', '$& client_body_timeout 1s; proxy_send_timeout 1s;')
  )
  const sender = new LiveSender(t, http, 'build')
  sender.write('before\n')
  await until(async () => ((await call(`${one.origin}/topics/build`)).json as { count?: number }).count === 1)
  // As long as nginx waits for a body that stops, twice.
  for (let round = 0; round < 2; round++) {
    const half = request(`${http}/topics/news/events`, { method: 'POST', headers: { 'content-length': 10 } })
    half.write('half')
    await t.rejects(once(half, 'response'), { code: 'ECONNRESET' })
  }
  sender.end('after\n')
  t.match(await sender.ended, { status: 200, json: { accepted: 2 } })
})

t.test('without heartbeats nginx ends an idle stream', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(
    t,
    [one.port, two.port],
    config => config.replace('proxy_read_timeout 60s', 'proxy_read_timeout 1s')
  )
  const { inbox } = await open(t, `${http}/events?topic=news`)
  t.match(await inbox.ended(), 'stream.open')
})

t.test('reloads of nginx under load: nothing acknowledged is lost, and every client receives all events in order', async t => {
  const [one, two] = await startInstances(t)
  // Old workers exit quickly, and their streams with them: clients must reconnect.
  const { nginx, http } = await startDeployedNginx(
    t,
    [one.port, two.port],
    config => config.replace('worker_shutdown_timeout 10m', 'worker_shutdown_timeout 200ms')
  )
  const clients = await Promise.all(
    [['a'], ['b'], ['a', 'b']].map(topics => ResumingClient.start(t, { origin: http, topics }))
  )
  const publishers = ['p', 'q'].map(name => new StubbornPublisher({
    name, topics: ['a', 'b'], origin: async () => http, onAcknowledged: () => {}
  }))
  const acknowledged = (): number => publishers.reduce((sum, publisher) => sum + publisher.acknowledged.length, 0)
  for (let round = 0; round < 3; round++) {
    const [count, connects] = [acknowledged(), clients.map(client => client.connects)]
    await nginx.reload()
    await clients[0]!.until(() => clients.every((client, at) => client.connects > connects[at]!))
    await until(() => acknowledged() > count + 20)
  }
  await checkExactness(t, http, ['a', 'b'], publishers, clients)
})

t.test('no log of nginx contains a query string, which can contain tokens', async t => {
  const [one, two] = await startInstances(t)
  const { nginx, http } = await startDeployedNginx(t, [one.port, two.port])
  const { inbox, close } = await open(t, `${http}/events?topic=news&lastEventId=very-secret`)
  await inbox.until('stream.open')
  close()
  await until(() => nginx.accesses.includes('"GET /events HTTP/1.1" 200'))
  await one.kill()
  await two.kill()
  t.equal((await call(`${http}/events?topic=news&lastEventId=very-secret`)).text, 'retry: 3000\n')
  // Regression: the error log of all locations except /events contained the whole request.
  t.equal((await call(`${http}/topics/news?ot=very-secret`)).status, 502)
  await until(() => nginx.accesses.includes('"GET /topics/news HTTP/1.1" 502'))
  t.notMatch(nginx.accesses + nginx.errors, 'very-secret')
})

t.test('no request fails when an instance is unavailable: the other one is used', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(t, [one.port, two.port])
  await one.kill()
  for (let at = 0; at < 5; at++) t.equal((await call(`${http}/topics/news`)).status, 200)
  const { inbox } = await open(t, `${http}/events?topic=news`)
  await inbox.until('stream.open')
})

// Any status except 200 ends an EventSource permanently, and an instance that responds with 503 still serves its open
// streams.
t.test('an EventSource is asked to retry later while Redis is unavailable, and while no instance responds', async t => {
  const redis = await RedisServer.start(t)
  const start = (): Promise<ServiceProcess> => ServiceProcess.start(t, { REDIS_URL: redis.url })
  const [one, two] = [await start(), await start()]
  const { http } = await startDeployedNginx(t, [one.port, two.port])
  const eventSource = () => call(`${http}/events?topic=news`, { headers: { accept: 'text/event-stream' } })
  await redis.kill()
  for (let at = 0; at < 4; at++) t.equal((await call(`${http}/topics/news`)).status, 503)
  t.match(await eventSource(), { status: 200, text: /^:\n[^]*retry: \d+\n$/ })
  await one.kill()
  await two.kill()
  const { status, headers, text } = await eventSource()
  t.match({ status, type: headers.get('content-type'), text }, {
    status: 200, type: 'text/event-stream', text: 'retry: 3000\n'
  })
})

t.test("with nginx's defaults and only proxy_pass, events are passed on at once too: X-Accel-Buffering turns the buffers off", async t => {
  const service = await ServiceProcess.start(t)
  const port = await stablePort()
  await Nginx.start(
    t,
    `pid nginx.pid; error_log error.log; events {} http { access_log access.log; server { listen 127.0.0.1:${port}; location / { proxy_pass ${service.origin}; } } }`,
    port
  )
  const origin = `http://127.0.0.1:${port}`
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  for (const data of ['one', 'two']) {
    await publish(origin, data)
    await inbox.until(`data: ${data}\n\n`)
  }
})
