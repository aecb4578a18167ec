import { channel } from 'node:diagnostics_channel'
import { mock } from 'node:test'
import cookie from '@fastify/cookie'
import t from 'tap'
import type { Test } from 'tap'
import { Grant, MemoryTokenStore } from '../../../plugin/auth/index.ts'
import type { SseStream, StreamCloseMessage } from '../../../plugin/index.ts'
import type { GrantInit } from '../../../plugin/auth/index.ts'
import { startExpiry, warn } from '../../../plugin/auth/grants/expiry.ts'
import { deferred } from '../../../plugin/common/deferred.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { ask, listenTo, startAuthApp } from '../../support/auth/auth-app.ts'
import type { AuthApp } from '../../support/auth/auth-app.ts'
import { open } from '../../support/clients/client.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../support/log.ts'
import { stuck, until } from '../../support/until.ts'
import { manual } from '../../support/documents/manual.ts'
import { bearer, nowS, SECRET, sign } from '../../support/auth/tokens.ts'

/** The reason of the next stream that closes. */
function nextReason (t: Test): Promise<string> {
  return new Promise(resolve => {
    const listener = (message: unknown): void => resolve((message as StreamCloseMessage).reason)
    channel('sse.stream.close').subscribe(listener)
    t.teardown(() => { channel('sse.stream.close').unsubscribe(listener) })
  })
}

t.test('a stream ends with its grant, after a warning, and a late client is rejected', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const reason = nextReason(t)
  const { headers, text } = await listenToEnd(t, origin, 2)
  t.match(text, /event: stream\.expiring\ndata: {"expiresIn":[12]}\n\n[^]*event: stream\.expired\ndata: {}\n\n$/)
  t.equal(await reason, 'expired')
  t.match(await ask(t, `${origin}/events`, headers), {
    status: 401, json: { message: 'the token has expired: get a new one' }
  })
})

/**
 * Reads a stream whose token is valid for a few seconds, to its end. A busy machine may take longer to open it, in
 * which case a new token is used.
 */
async function listenToEnd (
  t: Test,
  origin: string,
  seconds: number
): Promise<{ headers: Record<string, string>, text: string }> {
  for (;;) {
    const headers = bearer(await sign({ exp: nowS() + seconds }))
    const { statusCode, inbox } = await listenTo(t, origin, '/events', headers)
    const text = await inbox.ended()
    if (statusCode === 200) return { headers, text }
  }
}

/** What the expiry alone sends to a stream. */
function record (): { stream: SseStream, told: string[] } {
  const told: string[] = []
  const note = ({ event = '', data = '' }: { event?: string, data?: unknown }): void => {
    told.push(`${event} ${String(data)}`)
  }
  const stream = {
    send: async (event: object) => note(event),
    close: (reason: string, last: object) => { note(last); told.push(reason) }
  } as unknown as SseStream
  return { stream, told }
}

// Regression: the warning was pushed: with `slowClient: 'drop'` a client that was slow at that moment never received
// it, and with 'close' it was disconnected.
for (const slowClient of ['close', 'drop'] as const) {
  t.test(`a client that is slow when its warning is due receives it when there is room: ${slowClient}`, async t => {
    const app = await buildApp(t, { slowClient, highWaterMarkBytes: 100_000, maxBufferedBytes: 100_000 })
    const { stream: opening } = manual(app)
    const { response, inbox } = await open(t, await listen(app))
    const stream = await opening
    response.pause()
    await stream.send({ data: 'x'.repeat(20_000_000) })
    await stuck(stream)
    warn(stream, Date.now() + 3_600_000)
    t.equal(stream.isOpen, true)
    response.resume()
    await inbox.until('event: stream.expiring\ndata: {"expiresIn":3600}')
  })
}

// Regression: with tokens of a minute, such as Keycloak's, each new stream was warned at once, and the client with
// `getToken` reconnected in a loop, dozens of times per second.
t.test('a stream that opens shortly before the end of its grant is warned halfway, not immediately', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  t.teardown(() => mock.timers.reset())
  const { stream, told } = record()
  startExpiry(stream, 60_000, 60_000)
  mock.timers.tick(29_999)
  t.same(told, [])
  mock.timers.tick(1)
  t.same(told, ['stream.expiring {"expiresIn":30}'])
})

t.test('the warning is sent at the configured time before the end, also beyond the maximum delay of a timer', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  t.teardown(() => mock.timers.reset())
  const days = 100 * 86_400_000
  const { stream, told } = record()
  startExpiry(stream, days, 60_000)
  for (let at = 0; at < 9; at++) mock.timers.tick(10 * 86_400_000)
  mock.timers.tick(10 * 86_400_000 - 60_001)
  t.same(told, [])
  mock.timers.tick(1)
  t.same(told, ['stream.expiring {"expiresIn":60}'])
  mock.timers.tick(59_999)
  t.equal(told.length, 1)
  mock.timers.tick(1)
  t.same(told.slice(1), ['stream.expired {}', 'expired'])
})

/** Timers and both clocks, controlled by the test: `pass` lets time pass, `setMs` moves only the wall clock. */
function mockClocks (t: Test): { setMs: number, pass: (ms: number) => void } {
  mock.timers.enable({ apis: ['setTimeout'] })
  let passedMs = 0
  const clocks = { setMs: 86_400_000, pass: (ms: number) => { passedMs += ms; mock.timers.tick(ms) } }
  mock.method(performance, 'now', () => passedMs)
  mock.method(Date, 'now', () => clocks.setMs + passedMs)
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  return clocks
}

// Regression: a timer ignores the wall clock: a grant that had expired continued for as long as it had been valid
// before.
t.test('a clock that is set forward ends a grant within half a minute', async t => {
  const clocks = mockClocks(t)
  const { stream, told } = record()
  startExpiry(stream, Date.now() + 3_600_000, 60_000)
  clocks.setMs += 3_600_000
  clocks.pass(30_000)
  t.same(told, ['stream.expired {}', 'expired'])
})

// Regression: by the wall clock alone, setting it back by an hour added an hour to every grant.
t.test('a clock that is set back does not prolong a grant', async t => {
  const clocks = mockClocks(t)
  const { stream, told } = record()
  startExpiry(stream, Date.now() + 100_000, 0)
  clocks.setMs -= 3_600_000
  clocks.pass(99_999)
  t.same(told, [])
  clocks.pass(1)
  t.same(told, ['stream.expired {}', 'expired'])
})

t.test('no warning is sent if none is configured, and none after it was cancelled', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  t.teardown(() => mock.timers.reset())
  const silent = record()
  startExpiry(silent.stream, 1_000, 0)
  const stopped = record()
  startExpiry(stopped.stream, 90_000, 60_000)()
  const past = record()
  startExpiry(past.stream, -1, 60_000)
  mock.timers.tick(100_000)
  t.same(silent.told, ['stream.expired {}', 'expired'])
  t.same(stopped.told, [])
  t.same(past.told, ['stream.expired {}', 'expired'], 'a grant that has already expired causes no warning')
})

t.test('a client of another protocol is sent neither the warning nor the end', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  t.teardown(() => mock.timers.reset())
  const closed: unknown[] = []
  const stream = { control: 'none', close: (...args: unknown[]) => { closed.push(...args) } } as unknown as SseStream
  startExpiry(stream, 90_000, 60_000)
  mock.timers.tick(90_000)
  t.same(closed, ['expired', undefined])
})

t.test('streams leave no timers behind', async t => {
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const timers = (): number => process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length
  const before = timers()
  const headers = bearer(await sign())
  for (let at = 0; at < 20; at++) {
    const { inbox, close } = await listenTo(t, origin, '/events', headers)
    await inbox.until('stream.open')
    const closed = nextReason(t)
    close()
    await closed
  }
  t.ok(timers() <= before + 2, `${timers()} timers, ${before} before`)
  await app.close()
})

const cookies = { before: async (app: AuthApp['app']) => { await app.register(cookie) } }
const headers = { cookie: 'session=s1' }

t.test('the application is queried again while a stream is open, and may withdraw the grant', async t => {
  const answers: (GrantInit | null)[] = [
    null,
    { subject: 'bob' },
    { subject: 'alice', subscribe: ['other'] }
  ]
  for (const answer of answers) {
    let now: GrantInit | null = { subject: 'alice' }
    const { origin } = await startAuthApp(t, {
      cookie: { name: 'session', signed: false, verify: () => now }, recheckMs: 20
    }, cookies)
    const reason = nextReason(t)
    const { inbox } = await listenTo(t, origin, '/events', headers)
    await inbox.until('stream.open')
    now = answer
    t.notMatch(await inbox.ended(), /expired|revoked/, 'nothing is reported in the stream')
    t.equal(await reason, 'revoked')
  }
})

// Regression: a user who was signed out at the proxy kept receiving events for as long as the connection lasted.
t.test('the subject of a proxy is checked again while a stream is open', async t => {
  let now: GrantInit | null = { subject: 'alice' }
  const { origin } = await startAuthApp(t, {
    proxy: { header: 'x-user', from: ['127.0.0.1'], verify: () => now }, recheckMs: 20
  })
  const reason = nextReason(t)
  const { inbox } = await listenTo(t, origin, '/events', { 'x-user': 'alice' })
  await inbox.until('stream.open')
  now = null
  await inbox.ended()
  t.equal(await reason, 'revoked')
})

/** Long enough for a busy machine, and short enough to wait for. */
const FIRST_MS = 3_000

t.test('a grant that the application prolongs or shortens counts from then on', async t => {
  let first: number | undefined
  let expiresAtMs = 0
  const passed = deferred()
  const verify = (): GrantInit => {
    if (first === undefined) {
      first = Date.now() + FIRST_MS
      // From the next question on, whether or not the client has its stream by then.
      expiresAtMs = first + 3_600_000
      return { subject: 'alice', expiresAtMs: first }
    }
    if (Date.now() > first) passed.settle()
    return { subject: 'alice', expiresAtMs }
  }
  const { origin } = await startAuthApp(t, {
    cookie: { name: 'session', signed: false, verify }, recheckMs: 20, expiryWarningMs: 0
  }, cookies)
  const { inbox } = await listenTo(t, origin, '/events', headers)
  await inbox.until('stream.open')
  await passed.promise
  t.notOk(inbox.isOver, 'it outlasts its first expiry')
  expiresAtMs = Date.now() + 50
  t.match(await inbox.ended(), 'event: stream.expired')
})

t.test('an unavailable application and an unavailable store end no stream', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  let isAway = false
  const away = new Error('the database is away')
  t.teardown(() => mock.restoreAll())
  mock.method(store, 'revokedSubjects', async () => { if (isAway) throw away; return new Map() })
  const { origin } = await startAuthApp(t, {
    store,
    cookie: {
      name: 'session',
      signed: false,
      verify: () => {
        if (isAway) throw away
        return { subject: 'alice' }
      }
    },
    recheckMs: 20
  }, { ...cookies, server: { logger: logInto(log, 'warn') } })
  const { inbox, close } = await listenTo(t, origin, '/events', headers)
  await inbox.until('stream.open')
  isAway = true
  await log.until(text => text.split('could not be checked again').length > 4)
  t.notOk(inbox.isOver)
  close()
})

// Regression: one question that was never answered stopped all later checks, for every stream, indefinitely.
t.test('an application that never responds for one stream does not block the checks of others, and a late response is ignored', async t => {
  const log = new Inbox()
  const late = deferred<GrantInit | null>()
  let isHanging = false
  let hasLeft = false
  let asked = 0
  const verify = (user: string): GrantInit | null | Promise<GrantInit | null> => {
    if (user === 'bob' && hasLeft) return null
    if (user !== 'alice' || !isHanging) return { subject: user }
    return ++asked === 1 ? late.promise : new Promise(() => {})
  }
  const { origin } = await startAuthApp(
    t,
    { cookie: { name: 'session', signed: false, verify }, recheckMs: 20, recheckTimeoutMs: 40 },
    { ...cookies, server: { logger: logInto(log, 'warn') } }
  )
  const [alice, bob] = await Promise.all(
    ['alice', 'bob'].map(user => listenTo(t, origin, '/events', { cookie: `session=${user}` }))
  )
  for (const { inbox } of [alice!, bob!]) await inbox.until('stream.open')
  isHanging = true
  await log.until('could not be checked again')
  t.match(linesWith(log, 'could not be checked again')[0], {
    err: { code: 'FST_SSE_NO_ANSWER', message: 'no answer from cookie.verify within 40 ms' }
  })
  hasLeft = true
  await bob!.inbox.ended()
  late.settle(null)
  const before = asked
  await until(() => asked > before + 1)
  t.notOk(alice!.inbox.isOver, 'a late rejection ends nothing: the next check is in progress')
  isHanging = false
})

t.test('a store that never responds does not block the checks of the application, and is queried again', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  let isHanging = false
  let user: GrantInit | null = { subject: 'alice' }
  t.teardown(() => mock.restoreAll())
  mock.method(
    store,
    'revokedSubjects',
    () => isHanging ? new Promise(() => {}) : Promise.resolve(new Map([['carol', Date.now()]]))
  )
  mock.method(store, 'touch', () => new Promise(() => {}))
  const { app, origin } = await startAuthApp(t, {
    oneTimeToken: { store, insecure: true },
    cookie: { name: 'session', signed: false, verify: () => user },
    recheckMs: 20,
    recheckTimeoutMs: 40
  }, { ...cookies, server: { logger: logInto(log, 'warn') } })
  const { token } = await app.auth.issue(new Grant({ subject: 'bob', subscribe: ['news'] }, 'cookie'))
  const [alice, bob] = [await listenTo(t, origin, '/events', headers), await listenTo(t, origin, `/events?ot=${token}`)]
  await Promise.all([alice, bob].map(({ inbox }) => inbox.until('stream.open')))
  await log.until('no answer from the token store (touch) within 40 ms')
  isHanging = true
  await log.until('no answer from the token store (revokedSubjects) within 40 ms')
  user = null
  await alice.inbox.ended()
  t.notOk(bob.inbox.isOver)
  bob.close()
})

t.test('a store that is unavailable at the start is reported, and nobody is rejected', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  mock.method(store, 'revokedSubjects', async () => { throw new Error('away') })
  t.teardown(() => mock.restoreAll())
  const { origin } = await startAuthApp(t, { store, jwt: { secret: SECRET } }, {
    server: { logger: logInto(log, 'warn') }
  })
  t.match(log.text, 'revoked subjects are not known yet')
  t.equal((await ask(t, `${origin}/me`, bearer(await sign()))).status, 200)
})

t.test('a revocation by another node whose message was lost is found by the check', async t => {
  const store = new MemoryTokenStore()
  const { app, origin } = await startAuthApp(t, {
    oneTimeToken: { store, insecure: true }, jwt: { secret: SECRET }, recheckMs: 20
  })
  const bearers = bearer(await sign({ iat: nowS() - 5 }))
  const { token, session } = await app.auth.issue(new Grant({ subject: 'bob', subscribe: ['news'] }, 'cookie'))
  const [byToken, byBearer, other] = await Promise.all([
    listenTo(
      t,
      origin,
      `/events?ot=${token}`
    ), listenTo(t, origin, '/events', bearers), listenTo(t, origin, '/events', bearer(await sign({ sub: 'carol' })))
  ])
  await Promise.all([byToken, byBearer, other].map(({ inbox }) => inbox.until('stream.open')))
  // The store loses its listener: from here on it receives no notifications.
  await store.stop()
  await store.revokeSession(session)
  await store.revokeSubject('alice', 60_000)
  await Promise.all([byToken.inbox.ended(), byBearer.inbox.ended()])
  t.equal(other.inbox.isOver, false)
  other.close()
})

// Regression: the response of a store may be older than a notification received in the meantime: the revocation was
// forgotten until the next check.
t.test('a revocation received while the store is queried is not overwritten by the result', async t => {
  const store = new MemoryTokenStore()
  const answers: (() => void)[] = []
  let isHolding = false
  const tell = store.revokedSubjects.bind(store)
  t.teardown(() => mock.restoreAll())
  mock.method(store, 'revokedSubjects', async () => {
    const answer = await tell()
    if (isHolding) await new Promise<void>(resolve => answers.push(resolve))
    return answer
  })
  const { app, origin } = await startAuthApp(t, { store, jwt: { secret: SECRET }, recheckMs: 20 })
  const headers = bearer(await sign({ iat: nowS() - 5 }))
  t.equal((await ask(t, `${origin}/me`, headers)).status, 200)
  isHolding = true
  await until(() => answers.length === 1)
  await app.auth.revoke({ subject: 'alice' })
  t.equal((await ask(t, `${origin}/me`, headers)).status, 401)
  answers[0]!()
  await until(() => answers.length === 2)
  t.equal((await ask(t, `${origin}/me`, headers)).status, 401, 'the pending result has arrived')
  isHolding = false
  answers[1]!()
})
