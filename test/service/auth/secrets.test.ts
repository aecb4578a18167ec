import t from 'tap'
import type { Test } from 'tap'
import { connect, open } from '../../support/clients/client.ts'
import { startService } from '../../support/processes/commands.ts'
import { until } from '../../support/until.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { call } from '../../support/service/service-app.ts'
import { cookiesOf } from '../../support/auth/token-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

// At level trace, at which libraries log most: nothing that grants access may appear in the output of the process,
// however it was sent.

const secret = (where: string): string => `SECRET-${where}`

/** All forms in which bytes can appear in a line of JSON: as text, and as the numbers of a Buffer. */
function forms (text: string): string[] {
  return [text, encodeURIComponent(text), Buffer.from(text).toJSON().data.join(','), Buffer.from(text)
    .toString('base64')
    .slice(0, -4), Buffer.from(text).toString('hex')]
}

/** Data from clients that must not be logged. */
const HEADERS = {
  authorization: `Bearer ${secret('bearer')}`, cookie: `session=${secret('cookie')}`, 'x-api-key': secret('header')
}
const QUERY = `ot=${secret('query')}`

async function provoke (t: Test, origin: string): Promise<void> {
  const stream = await open(t, `${origin}/events?topic=news&${QUERY}`, {
    headers: { ...HEADERS, accept: 'text/event-stream' }
  })
  await stream.inbox.until(':\n').catch(() => {})
  stream.close()
  const plain = await open(t, `${origin}/events?topic=news`, { headers: { ...HEADERS, accept: 'text/event-stream' } })
  plain.close()
  for (const path of ['/events?topic=news', '/events?topic=*', '/events', '/nowhere', '/topics/news', '/topics/*', '/healthz', '/readyz', '/%']) {
    await call(`${origin}${path}${path.includes('?') ? '&' : '?'}${QUERY}`, {
      headers: { ...HEADERS, accept: 'application/json' }
    })
  }
  for (const body of [`{"data":"${secret('body')}"}`, `{"${secret('body')}"`, `{"data":1,"${secret('body')}":1}`]) {
    await call(`${origin}/topics/news/events?${QUERY}`, { method: 'POST', body, headers: HEADERS })
  }
  await call(`${origin}/topics/news/events?${QUERY}`, { method: 'PUT', headers: HEADERS })
  const lines = Object.entries(HEADERS).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  // Input that the HTTP parser rejects reaches the log with all its bytes.
  for (const request of [
    `GET /events?${QUERY} HTTP/1.1\r\nhost: localhost\r\n${lines}bad header\r\n\r\n`,
    `NONSENSE ${secret('bearer')}\r\n\r\n`,
    `GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ${'x'.repeat(20_000)}\r\n${lines}\r\n`
  ]) {
    const { send, inbox } = await connect(t, origin)
    send(request)
    await inbox.ended()
  }
  const { send, socket } = await connect(t, origin)
  send(
    `POST /topics/news/events?${QUERY} HTTP/1.1\r\nhost: localhost\r\n${lines}content-type: text/plain\r\ncontent-length: 100\r\n\r\n${secret('body')}`
  )
  await call(`${origin}/healthz`)
  socket.resetAndDestroy()
}

/** The output of the process, with all secrets that occur in it. */
function leaks (said: string, ...wheres: string[]): string[] {
  return wheres.filter(where => isIn(said, secret(where)))
}

function isIn (said: string, text: string): boolean {
  return forms(text).some(form => said.includes(form))
}

/** A Redis with a password, and its URL. */
async function startRedis (t: Test): Promise<{ redis: RedisServer, url: (password: string) => string }> {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.set('sse:{wrong}:log', 'of another type'))
  await redis.with(client => client.config('SET', 'requirepass', secret('redis')))
  return { redis, url: password => `redis://default:${password}@127.0.0.1:${redis.port}` }
}

t.test('no data from clients, and not the password of Redis, is written to the log', async t => {
  const { redis, url } = await startRedis(t)
  const { service, origin } = await startService(t, { REDIS_URL: url(secret('redis')), LOG_LEVEL: 'trace' })
  await until(async () => (await call(`${origin}/readyz`)).status === 200)
  await provoke(t, origin)
  t.equal((await call(`${origin}/topics/wrong/events`, { method: 'POST', body: { data: secret('body') } })).status, 503)
  await redis.kill()
  await until(async () => (await call(`${origin}/readyz`)).status === 503)
  await provoke(t, origin)
  await service.until(({ out }) => out.includes('; retrying'))
  await service.stop()
  for (const told of ['event stream closed', 'request rejected', 'TOPICS_BAD_EVENT']) t.match(service.out, told)
  t.same(leaks(service.out + service.err, 'redis', 'bearer', 'cookie', 'header', 'query', 'body'), [])
})

// An error of the Redis client contains the command that failed, which is AUTH with the password.
t.test('a password that Redis rejects is not written either', async t => {
  const { url } = await startRedis(t)
  const { service } = await startService(t, { REDIS_URL: url(secret('mistyped')), LOG_LEVEL: 'trace' })
  await service.until(({ out }) => out.includes('WRONGPASS'))
  await service.stop()
  t.same(leaks(service.out + service.err, 'mistyped', 'redis'), [])
})

t.test('no credential is written: the key, valid and invalid tokens, fresh and spent one-time tokens, and the cookies that they issue', async t => {
  const { service, origin } = await startService(t, {
    LOG: 'memory', JWT_SECRET: SECRET, COOKIE_NAME: 'session', LOG_LEVEL: 'trace'
  })
  const [good, expired] = await Promise.all([sign(), sign({}, { expiresInS: -60 })])
  const answer = await call(`${origin}/events/auth`, {
    method: 'POST', body: { topics: ['news'] }, headers: bearer(good)
  })
  const { token } = answer.json as { token: string }
  const url = `${origin}/events?topic=news&ot=${token}`
  const first = await open(t, url)
  await first.inbox.until('stream.open')
  const cookie = cookiesOf(first)
  first.close()
  const again = await open(t, url, { headers: { accept: 'text/event-stream', cookie } })
  await again.inbox.until('stream.open')
  for (const headers of [bearer(good), bearer(expired), bearer(`${good}x`), {
    cookie: `session=${expired}`
  }, { authorization: `Basic ${good}` }, {}]) {
    await call(`${origin}/topics/news/events?ot=${token}&access_token=${good}`, {
      method: 'POST', body: { data: 1 }, headers
    })
    await call(`${origin}/events?topic=news&ot=${token}`, { headers: { ...headers, accept: 'application/json' } })
    await call(`${origin}/nowhere?ot=${token}`, { headers })
  }
  await service.stop()
  t.match(service.out, 'request rejected')
  const credentials = { SECRET, good, expired, token, cookie: cookie.split('=')[1]! }
  t.same(Object.entries(credentials)
    .filter(([, value]) => isIn(service.out + service.err, value))
    .map(([name]) => name), [])
})

t.test('a secret is found in each form in which it could be written', async t => {
  for (const said of [
    `{"url":"/?ot=${secret('query')}"}`, JSON.stringify({ raw: Buffer.from(`x ${secret('query')} y`) })
  ]) t.same(leaks(said, 'query'), ['query'])
})
