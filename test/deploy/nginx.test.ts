import t from 'tap'
import { open } from '../support/client.ts'
import { run } from '../support/commands.ts'
import { checkExactness } from '../support/exactness.ts'
import { Nginx, startDeployedNginx } from '../support/nginx.ts'
import { RedisServer } from '../support/redis-server.ts'
import { ResumingClient } from '../support/resuming-client.ts'
import { call } from '../support/service-app.ts'
import { stablePort } from '../support/ports.ts'
import { ServiceProcess } from '../support/service-process.ts'
import { StubbornPublisher } from '../support/stubborn-publisher.ts'
import { when } from '../support/when.ts'
import type { Test } from 'tap'

// A real nginx with deploy/nginx.conf before two real instances, and with nothing but proxy_pass.

/** Two instances on one Redis, as nginx is given them. */
async function startInstances (t: Test, env: Record<string, string> = {}): Promise<[ServiceProcess, ServiceProcess]> {
  const redis = await RedisServer.start(t)
  const start = () => ServiceProcess.start(t, { REDIS_URL: redis.url, TRUST_PROXY: '127.0.0.1', ...env })
  return [await start(), await start()]
}

const publish = (origin: string, body: string) => call(`${origin}/topics/news/events`, { method: 'POST', body, type: 'text/plain' })

t.test('nginx takes deploy/nginx.conf; events flow at once over HTTP/2, HTTP/1.1 and without TLS, and the inside stays inside', async t => {
  const [one, two] = await startInstances(t)
  const { nginx, http, https, cert } = await startDeployedNginx(t, [one.port, two.port])
  t.match(await nginx.test(), 'test is successful')
  const curls = ['--http2', '--http1.1'].map(version => run(t, 'curl', ['-sN', version, '--cacert', cert, `${https}/events?topic=news`]))
  for (const curl of curls) await curl.until(({ out }) => out.includes('stream.open'))
  const plain = await open(t, `${http}/events?topic=news`)
  await plain.inbox.until('stream.open')
  t.equal((await publish(http, 'at once')).status, 201)
  for (const curl of curls) await curl.until(({ out }) => out.includes('data: at once\n\n'))
  await plain.inbox.until('data: at once\n\n')
  for (const path of ['/metrics', '/healthz', '/readyz', '/console', '/console/console.js', '/openapi.json', '/']) t.equal((await call(http + path)).status, 404, path)
  t.equal((await call(`${http}/topics/news`)).status, 200)
  t.match((await call(`${http}/events/none`)).json, { statusCode: 404 }, 'the service answers')
})

t.test('an idle stream lives past proxy_read_timeout by its heartbeats', async t => {
  const [one, two] = await startInstances(t, { HEARTBEAT_MS: '100' })
  const { http } = await startDeployedNginx(t, [one.port, two.port], config => config.replace('proxy_read_timeout 60s', 'proxy_read_timeout 2s'))
  const { inbox } = await open(t, `${http}/events?topic=news`)
  await inbox.until(text => (text.split('stream.open')[1]?.match(/^:$/gm)?.length ?? 0) >= 25)
  await publish(http, 'still there')
  await inbox.until('data: still there\n\n')
})

t.test('without heartbeats nginx ends it', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(t, [one.port, two.port], config => config.replace('proxy_read_timeout 60s', 'proxy_read_timeout 1s'))
  const { inbox } = await open(t, `${http}/events?topic=news`)
  t.match(await inbox.ended(), 'stream.open')
})

t.test('reloads of nginx under load: nothing acknowledged is lost, every client has all in order', async t => {
  const [one, two] = await startInstances(t)
  // Old workers go soon, and their streams with them: clients must come back.
  const { nginx, http } = await startDeployedNginx(t, [one.port, two.port], config => config.replace('worker_shutdown_timeout 10m', 'worker_shutdown_timeout 200ms'))
  const clients = await Promise.all([['a'], ['b'], ['a', 'b']].map(topics => ResumingClient.start(t, { origin: http, topics })))
  const publishers = ['p', 'q'].map(name => new StubbornPublisher({ name, topics: ['a', 'b'], origin: async () => http, onAcknowledged: () => {} }))
  const acknowledged = (): number => publishers.reduce((sum, publisher) => sum + publisher.acknowledged.length, 0)
  for (let round = 0; round < 3; round++) {
    const [count, connects] = [acknowledged(), clients.map(client => client.connects)]
    await nginx.reload()
    await clients[0]!.until(() => clients.every((client, at) => client.connects > connects[at]!))
    await when(() => acknowledged() > count + 20)
  }
  await checkExactness(t, http, ['a', 'b'], publishers, clients)
})

t.test('what stands behind a path is in no log of nginx: tokens travel there', async t => {
  const [one, two] = await startInstances(t)
  const { nginx, http } = await startDeployedNginx(t, [one.port, two.port])
  const { inbox, close } = await open(t, `${http}/events?topic=news&lastEventId=very-secret`)
  await inbox.until('stream.open')
  close()
  await when(() => nginx.accesses.includes('"GET /events HTTP/1.1" 200'))
  await one.kill()
  await two.kill()
  t.equal((await call(`${http}/events?topic=news&lastEventId=very-secret`)).text, 'retry: 3000\n')
  // The error log of all but /events named the whole request.
  t.equal((await call(`${http}/topics/news?ot=very-secret`)).status, 502)
  await when(() => nginx.accesses.includes('"GET /topics/news HTTP/1.1" 502'))
  t.notMatch(nginx.accesses + nginx.errors, 'very-secret')
})

t.test('an instance that is away costs no request: the other one is asked', async t => {
  const [one, two] = await startInstances(t)
  const { http } = await startDeployedNginx(t, [one.port, two.port])
  await one.kill()
  for (let at = 0; at < 5; at++) t.equal((await call(`${http}/topics/news`)).status, 200)
  const { inbox } = await open(t, `${http}/events?topic=news`)
  await inbox.until('stream.open')
})

// Any status but 200 ends an EventSource for good, and an instance that says 503 serves its open streams all the same.
t.test('an EventSource is told to come back while Redis is away, and while no instance answers', async t => {
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
  t.match({ status, type: headers.get('content-type'), text }, { status: 200, type: 'text/event-stream', text: 'retry: 3000\n' })
})

t.test("with nginx's defaults and proxy_pass alone events flow at once, too: X-Accel-Buffering turns its buffers off", async t => {
  const service = await ServiceProcess.start(t)
  const port = await stablePort()
  await Nginx.start(t, `pid nginx.pid; error_log error.log; events {} http { access_log access.log; server { listen 127.0.0.1:${port}; location / { proxy_pass ${service.origin}; } } }`, port)
  const origin = `http://127.0.0.1:${port}`
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  for (const data of ['one', 'two']) {
    await publish(origin, data)
    await inbox.until(`data: ${data}\n\n`)
  }
})
