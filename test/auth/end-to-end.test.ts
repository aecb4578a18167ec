import t from 'tap'
import { Grant, MemoryTokenStore } from '../../plugin/auth/index.ts'
import { ask, listenTo, startAuthApp } from '../support/auth/auth-app.ts'
import { bearer, SECRET, sign } from '../support/auth/tokens.ts'

const alice = new Grant({ subject: 'alice', subscribe: ['news'] }, 'cookie')

t.test('a one-time token opens one stream, and its session resumes it', async t => {
  const { app, origin } = await startAuthApp(t, {
    jwt: { secret: SECRET }, oneTimeToken: { store: new MemoryTokenStore(), insecure: true, graceMs: 0 }
  })
  const { token, session } = await app.auth.issue(alice)
  const { statusCode, headers, inbox, close } = await listenTo(t, origin, `/events?ot=${token}`)
  t.match({ statusCode, headers }, { statusCode: 200, headers: { 'referrer-policy': 'no-referrer' } })
  await inbox.until('stream.open')
  close()
  t.match(await ask(t, `${origin}/events?ot=${token}`), { status: 401, headers: { 'www-authenticate': 'Bearer' } })
  const cookie = headers['set-cookie']![0]!.split(';')[0]!
  const resumed = await listenTo(t, origin, `/events?ot=${token}`, { cookie })
  t.equal(resumed.statusCode, 200)
  await resumed.inbox.until('stream.open')
  await app.auth.revoke({ session })
  await resumed.inbox.ended()
  t.match(await ask(t, `${origin}/events?ot=${token}`, { cookie }), { status: 401 })
})

t.test('a one-time token on a route that responds without a stream is spent', async t => {
  const { app, origin } = await startAuthApp(t, { oneTimeToken: { store: new MemoryTokenStore(), insecure: true } })
  const { token } = await app.auth.issue(alice)
  t.match(await ask(t, `${origin}/me?ot=${token}`, {}, 'HEAD'), { status: 200 })
  t.match(await ask(t, `${origin}/events?topic=other&ot=${token}`), { status: 403 })
  t.match(await ask(t, `${origin}/me?ot=${token}`), { status: 200, json: { subject: 'alice', source: 'token' } })
  t.match(await ask(t, `${origin}/me?ot=${token}`), { status: 401 })
})

t.test('a revoked subject loses its streams and cannot reconnect', async t => {
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const headers = bearer(await sign({ iat: Math.floor(Date.now() / 1000) - 1 }))
  const { inbox } = await listenTo(t, origin, '/events', headers)
  await inbox.until('stream.open')
  await app.auth.revoke({ subject: 'alice' })
  t.notMatch(await inbox.ended(), /revoked|expired/)
  t.match(await ask(t, `${origin}/events`, headers), {
    status: 401, json: { code: 'FST_SSE_UNAUTHORIZED', message: /were revoked/ }
  })
})
