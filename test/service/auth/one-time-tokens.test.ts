import t from 'tap'
import type { Test } from 'tap'
import { open } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { call } from '../../support/service/service-app.ts'
import { ServiceProcess } from '../../support/service/service-process.ts'
import { cookiesOf } from '../../support/auth/token-app.ts'
import { bearer, nowS, SECRET, sign } from '../../support/auth/tokens.ts'

// The service as users run it: two processes, one Redis, and a browser's token that outlives either of them.

async function startPair (t: Test): Promise<readonly [ServiceProcess, ServiceProcess]> {
  const redis = await RedisServer.start(t)
  const env = { REDIS_URL: redis.url, JWT_SECRET: SECRET }
  return Promise.all([ServiceProcess.start(t, env), ServiceProcess.start(t, env)])
}

async function issue (origin: string, claims = {}): Promise<{ token: string, session: string }> {
  const headers = bearer(await sign({ iat: nowS() - 10, ...claims }))
  return (await call(`${origin}/events/auth`, { method: 'POST', body: { topics: ['news'] }, headers })).json as {
    token: string, session: string
  }
}

async function publish (origin: string, data: string): Promise<void> {
  const { status, text } = await call(`${origin}/topics/news/events`, {
    method: 'POST', body: { data }, headers: bearer(await sign())
  })
  if (status !== 201) throw new Error(`not published: ${text}`)
}

/** Reconnects as EventSource does: the same URL, its cookie, and the last id it saw. */
function comeBack (t: Test, origin: string, token: string, before: Opened): Promise<Opened> {
  const ids = [...before.inbox.text.matchAll(/^id: (.*)$/gm)]
  return open(t, `${origin}/events?topic=news&ot=${token}`, {
    headers: { accept: 'text/event-stream', cookie: cookiesOf(before), 'last-event-id': ids.at(-1)![1]! }
  })
}

const dataIn = ({ inbox }: Opened): string[] => [...inbox.text.matchAll(/^data: (\w+)$/gm)].map(([, data]) => data!)

t.test('a process that is killed: the spent token and its cookie resume at the other one without loss', async t => {
  const [one, two] = await startPair(t)
  const { token } = await issue(two.origin)
  const first = await open(t, `${one.origin}/events?topic=news&ot=${token}`)
  t.equal(first.statusCode, 200)
  await first.inbox.until('stream.open')
  await publish(two.origin, 'a')
  await first.inbox.until('data: a\n')
  await one.kill()
  await publish(two.origin, 'b')
  const second = await comeBack(t, two.origin, token, first)
  t.equal(second.statusCode, 200)
  await publish(two.origin, 'c')
  await second.inbox.until('data: c\n')
  t.same([...dataIn(first), ...dataIn(second)], ['a', 'b', 'c'])
  t.equal(
    (await open(t, `${two.origin}/events?topic=news&ot=${token}`, { localAddress: '127.0.0.99' })).statusCode,
    401,
    'no other client'
  )
})

t.test('a revocation at one process ends the streams of the other, and no client can reconnect', async t => {
  const [one, two] = await startPair(t)
  const [lost, kept] = [await issue(one.origin), await issue(one.origin, { sub: 'bob' })]
  const streams = [
    await open(t, `${two.origin}/events?topic=news&ot=${lost.token}`),
    await open(t, `${two.origin}/events?topic=news&ot=${kept.token}`)
  ] as const
  for (const { inbox } of streams) await inbox.until('stream.open')
  const revoke = async (claims: object): Promise<number> => (await call(`${one.origin}/events/revoke`, {
    method: 'POST', body: { subject: 'alice' }, headers: bearer(await sign({ sub: 'service', ...claims }))
  })).status
  t.equal(await revoke({}), 403)
  t.equal(await revoke({ topics: { revoke: true } }), 204)
  await streams[0].inbox.ended()
  t.notOk(streams[1].inbox.isOver)
  for (const { origin } of [one, two]) {
    const { statusCode } = await comeBack(t, origin, lost.token, streams[0])
    t.equal(statusCode, 401)
    await until(async () =>
      (await call(`${origin}/events?topic=news`, { headers: bearer(await sign({ iat: nowS() - 10 })) })).status === 401)
  }
})
