import t from 'tap'
import { connect, get, open } from '../../support/clients/client.ts'
import { certificateFiles, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { metricsOf } from '../../support/service/metrics.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'
import { until } from '../../support/until.ts'

// The headers of every response, and requests that match neither a route nor a body type.

t.test('no cache stores JSON, and no browser treats it as anything else', async t => {
  const service = await TestService.start(t)
  for (const path of ['/healthz', '/topics/news', '/nowhere', '/topics/-', '/openapi.json']) {
    const { headers } = await service.call(path)
    t.match(Object.fromEntries(headers), { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }, path)
  }
  const { inbox, send } = await connect(t, service.origin)
  send('this is no HTTP\r\n\r\n')
  t.match(await inbox.ended(), /cache-control: no-store\r\nx-content-type-options: nosniff/)
})

t.test('no cache stores a stream whose URL contains a one-time token', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const headers = bearer(await sign())
  const { token } = (await service.call('/events/auth', { method: 'POST', headers })).json as { token: string }
  const withToken = await open(t, `${service.origin}/events?topic=news&ot=${token}`)
  t.equal(withToken.headers['cache-control'], 'private, no-store, no-transform')
  const other = await open(t, `${service.origin}/events?topic=news`, { headers })
  t.equal(other.headers['cache-control'], 'no-cache, no-transform')
})

t.test('with TLS browsers are told to use HTTPS only, and an unknown method is rejected like any other', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, { TLS_CERT: cert, TLS_KEY: key })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  const { headers, inbox } = await openHttp2(session, '/healthz', { headers: { ':method': 'BREW' } })
  t.match(headers, { ':status': 405, allow: /GET/, 'strict-transport-security': 'max-age=31536000' })
  t.match(JSON.parse(await inbox.ended()), { code: 'SERVICE_METHOD_NOT_ALLOWED', message: /saw "BREW"/ })
  t.notOk((await (await TestService.start(t)).call('/healthz')).headers.has('strict-transport-security'))
})

t.test('a request with two Host headers is rejected', async t => {
  const service = await TestService.start(t)
  const { inbox, send } = await connect(t, service.origin)
  send(get('/healthz', { headers: 'Host: evil.example\r\nConnection: close\r\n' }))
  t.match(await inbox.ended(), /^HTTP\/1\.1 400 [^]*Host is repeated/)
})

t.test('a body declared as too large is rejected before it is sent', async t => {
  const service = await TestService.start(t, { MAX_BODY_BYTES: '1024', MAX_BATCH_BYTES: '2048' })
  const ask = async (type: string, bytes: number): Promise<string> => {
    const { inbox, send } = await connect(t, service.origin)
    send(
      `POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`
    )
    const text = await inbox.until(/* the head of the first answer */ '\r\n\r\n')
    if (text.includes('100 Continue')) send('x'.repeat(bytes))
    return inbox.ended()
  }
  t.match(await ask('text/plain', 1_025), /^HTTP\/1\.1 413 [^]*at most 1024 bytes/)
  t.match(await ask('application/x-ndjson', 2_049), /^HTTP\/1\.1 413 [^]*at most 2048 bytes/)
  t.match(await ask('text/plain', 900), /^HTTP\/1\.1 100 [^]*HTTP\/1\.1 201 /)
  t.match(await ask('application/x-ndjson', 2_000), /^HTTP\/1\.1 100 [^]*HTTP\/1\.1 400 /)
})

t.test('a browser that opens the service is redirected to the console, a program gets 404', async t => {
  const service = await TestService.start(t)
  const lead = await fetch(service.origin, { headers: { accept: 'text/html,*/*' }, redirect: 'manual' })
  t.match([lead.status, lead.headers.get('location')], [303, 'console'])
  t.match(await service.call('/'), { status: 404, json: { code: 'SERVICE_NO_SUCH_PATH' } })
  t.equal((await service.call('/favicon.ico')).status, 204)
  const without = await TestService.start(t, { CONSOLE: 'no' })
  t.equal((await without.call('/', { headers: { accept: 'text/html' } })).status, 404)
})

t.test('a publisher that disconnects within its body is not an error, and is counted', async t => {
  const service = await TestService.start(t)
  for (const [at, type] of ['text/plain', 'application/x-ndjson'].entries()) {
    const { socket, send } = await connect(t, service.origin)
    let hasArrived = false
    service.app.server.once('request', () => { hasArrived = true })
    send(
      `POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 100000\r\n\r\n{"data":1}\n`
    )
    await until(() => hasArrived)
    socket.destroy()
    await until(async () => (await metricsOf(service.origin)).get('sse_publishes_total{outcome="aborted"}') === at + 1)
  }
  const metrics = await metricsOf(service.origin)
  t.same(['failed', 'refused'].map(outcome => metrics.get(`sse_publishes_total{outcome="${outcome}"}`)), [0, 0])
})

t.test('every metric with a name like a counter is one, and the version is reported', async t => {
  const service = await TestService.start(t)
  const { text } = await service.call('/metrics')
  const types = [...text.matchAll(/^# TYPE (\S+_total) (\S+)$/gm)]
  t.same(types.filter(([, , type]) => type !== 'counter').map(([, name]) => name), [])
  t.match(text, /^sse_build_info{version="\d+\.\d+\.\d+",node="\d+\.\d+\.\d+"} 1$/m)
})
