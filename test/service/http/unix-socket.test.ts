import t from 'tap'
import type { Test } from 'tap'
import { buildService, readConfig } from '../../../service/index.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { listenOnSocket } from '../../support/network/unix-socket.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

const ORIGIN = 'http://localhost'
const SSE = { accept: 'text/event-stream' }
const JSON_BODY = { 'content-type': 'application/json' }

interface Client {
  call: (method: string, path: string, body?: object, headers?: Record<string, string>) => Promise<Opened & {
    text: string
  }>
  listen: (path: string, headers?: Record<string, string>) => Promise<Opened>
}

/** The service on a Unix socket, where clients have no address. */
async function start (t: Test, env: Record<string, string>): Promise<Client> {
  const app = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', ...env }))
  t.teardown(() => app.close())
  const socketPath = await listenOnSocket(t, app)
  return {
    call: (method, path, body, headers = {}) => fetchAll(t, ORIGIN + path, {
      socketPath, method, headers: { ...(body && JSON_BODY), ...headers }, ...(body && { body: JSON.stringify(body) })
    }),
    listen: (path, headers = {}) => open(t, ORIGIN + path, { socketPath, headers: { ...SSE, ...headers } })
  }
}

// Regression: everything that is counted by address responded with 500: publishing, subscribing, requesting tokens and
// presenting them.
t.test('a service on a Unix socket publishes and streams, and counts its clients as one address', async t => {
  const { call, listen } = await start(t, { PUBLISH_RATE: '2', MAX_STREAMS_PER_ADDRESS: '1' })
  const { statusCode, inbox } = await listen('/events?topic=news')
  t.equal(statusCode, 200)
  await inbox.until('stream.open')
  const answers = await Promise.all(Array.from(
    { length: 20 },
    () => call('POST', '/topics/news/events', { data: 'hello' })
  ))
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([201, 429]))
  await inbox.until('data: hello')
  t.match(
    await (await listen('/events?topic=news')).inbox.ended(),
    /^:\nretry: 3000\nretry: \d+\n$/,
    'a second stream of the same address'
  )
})

t.test('one-time tokens of a service on a Unix socket are issued, redeemed and counted', async t => {
  const { call, listen } = await start(t, { JWT_SECRET: SECRET })
  const alice = bearer(await sign())
  const issued = await call('POST', '/events/auth', { topics: ['news'] }, alice)
  t.equal(issued.statusCode, 200)
  const { token } = JSON.parse(issued.text) as { token: string }
  const { statusCode, inbox, headers } = await listen(`/events?topic=news&ot=${token}`)
  t.equal(statusCode, 200)
  await inbox.until('stream.open')
  t.equal((await call('POST', '/topics/news/events', { data: 'hello' }, alice)).statusCode, 201)
  await inbox.until('data: hello')
  const cookie = headers['set-cookie']![0]!.split(';')[0]!
  const again = await listen(`/events?topic=news&ot=${token}`, { cookie })
  await again.inbox.until('stream.open')
  for (let failure = 0; failure < 60; failure++) {
    t.equal((await call('GET', `/events?topic=news&ot=${'A'.repeat(43)}`)).statusCode, 401)
  }
  t.equal((await call('GET', `/events?topic=news&ot=${'A'.repeat(43)}`)).statusCode, 429)
})
