import t from 'tap'
import { connect, get, open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'

const PAGE = 'https://app.example'

/** The headers that a browser checks. */
const corsOf = (headers: Headers): Record<string, string> =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-') || name === 'vary'))
const ALLOWED = { 'access-control-allow-origin': PAGE, 'access-control-allow-credentials': 'true' }

t.test('no origin is allowed unless the configuration names one', async t => {
  const service = await TestService.start(t)
  t.same(corsOf((await service.call('/healthz', { headers: { origin: PAGE } })).headers), {})
})

t.test('an origin of the list may read every response, including errors', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: `${PAGE},http://localhost:3000` })
  const calls: [number, string, string?][] = [
    [200, '/healthz'], [200, '/topics/a'], [400, '/topics/-'], [400, '/events'], [404, '/nowhere'], [
      405, '/events', 'PUT'
    ], [400, '/topics/a%2'],
    [204, '/topics/a/close', 'POST'], [409, '/topics/a/events', 'POST'], [204, '/topics/a', 'OPTIONS']
  ]
  for (const [status, path, method = 'GET'] of calls) {
    const body = path.endsWith('/events') && method === 'POST' ? { body: { data: 1 } } : {}
    const answer = await service.call(path, { method, headers: { origin: PAGE }, ...body })
    t.equal(answer.status, status, `${method} ${path}`)
    t.match(corsOf(answer.headers), {
      ...ALLOWED, vary: 'Origin', 'access-control-expose-headers': /\bidempotency-replayed\b.*\bretry-after\b/
    }, `${method} ${path}`)
  }
  const { statusCode, headers } = await open(t, `${service.origin}/events?topic=b`, { headers: { origin: PAGE } })
  t.match({ statusCode, headers }, { statusCode: 200, headers: ALLOWED })
})

t.test('the response for one origin is not valid for another: similar origins get nothing, and caches are informed', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: PAGE })
  for (const origin of [
    'https://evil.example',
    'http://app.example',
    'https://app.example.evil.example',
    'https://app.example:8443',
    'https://APP.example',
    'null',
    `${PAGE}/`
  ]) {
    const { status, headers } = await service.call('/healthz', { headers: { origin } })
    t.equal(status, 200)
    t.same(corsOf(headers), { vary: 'Origin' }, origin)
  }
  t.same(corsOf((await service.call('/healthz')).headers), { vary: 'Origin' })
})

t.test('a preflight from an origin of the list says what it may send, and is cached', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: PAGE })
  const preflight = (origin: string, path: string) => service.call(path, {
    method: 'OPTIONS',
    headers: {
      origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,idempotency-key'
    }
  })
  for (const path of ['/events', '/topics/a/events', '/nowhere']) {
    const { status, text, headers } = await preflight(PAGE, path)
    t.match({ status, text }, { status: 204, text: '' })
    t.match(corsOf(headers), {
      ...ALLOWED,
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, DELETE',
      'access-control-allow-headers': 'last-event-id, authorization, cache-control, content-type, content-encoding, ' +
        'idempotency-key, producer-id, producer-after',
      'access-control-max-age': '7200'
    }, path)
  }
  t.same(corsOf((await preflight('https://evil.example', '/events')).headers), { vary: 'Origin' })
})

t.test('* allows every page, without cookies', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: '*' })
  const cors = corsOf((await service.call('/nowhere', { headers: { origin: 'https://any.example' } })).headers)
  t.match(cors, { 'access-control-allow-origin': '*' })
  t.notOk('access-control-allow-credentials' in cors)
})

// Regression: an OPTIONS request that was not a preflight got 400 in another format.
t.test('with CORS an unknown path is still 404, and OPTIONS still lists the methods', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: PAGE })
  for (const method of ['GET', 'POST', 'OPTIONS']) {
    t.match(await service.call('/nowhere', { method }), { status: 404, json: { code: 'SERVICE_NO_SUCH_PATH' } }, method)
  }
  const { headers } = await service.call('/topics/a', { method: 'OPTIONS' })
  t.equal(headers.get('allow'), 'GET, HEAD, DELETE, OPTIONS')
  const { send, inbox } = await connect(t, service.origin)
  send(get('*', { method: 'OPTIONS', headers: 'Connection: close\r\n' }))
  t.match(
    await inbox.ended(),
    /^HTTP\/1\.1 204 [^]*allow: GET, HEAD, POST, PUT, DELETE, OPTIONS/,
    'about the server as a whole'
  )
})

t.test('a preflight allows the headers of tracing and of HTTP clients', async t => {
  const service = await TestService.start(t, { CORS_ORIGINS: PAGE })
  const { headers } = await service.call('/events', {
    method: 'OPTIONS',
    headers: { origin: PAGE, 'access-control-request-method': 'GET', 'access-control-request-headers': 'traceparent' }
  })
  for (const name of ['traceparent', 'tracestate', 'x-request-id', 'last-event-id']) {
    t.match(headers.get('access-control-allow-headers'), name)
  }
})
