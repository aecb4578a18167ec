import { channel } from 'node:diagnostics_channel'
import { mock } from 'node:test'
import cookie from '@fastify/cookie'
import t from 'tap'
import type { Test } from 'tap'
import { Grant, MemoryTokenStore } from '../../plugin/auth/index.ts'
import type { StreamCloseMessage } from '../../plugin/index.ts'
import type { GrantInit } from '../../plugin/auth/index.ts'
import { startExpiry } from '../../plugin/auth/expiry.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import type { SseStream } from '../../plugin/index.ts'
import { buildApp, listen } from '../support/app.ts'
import { ask, listenTo, startAuthApp } from '../support/auth-app.ts'
import type { AuthApp } from '../support/auth-app.ts'
import { open } from '../support/client.ts'
import { Inbox } from '../support/inbox.ts'
import { linesWith, logInto } from '../support/log.ts'
import { until } from '../support/log-contract.ts'
import { manual } from '../support/manual.ts'
import { bearer, nowS, SECRET, sign } from '../support/tokens.ts'
import { stuck } from '../support/when.ts'

/** The reason of the next stream that closes. */
function nextReason (t: Test): Promise<string> {
  return new Promise(resolve => {
    const listener = (message: unknown): void => resolve((message as StreamCloseMessage).reason)
    channel('sse.stream.close').subscribe(listener)
    t.teardown(() => { channel('sse.stream.close').unsubscribe(listener) })
  })
}

t.test('a stream ends with its grant, warned before, and a late client is refused', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const reason = nextReason(t)
  const { headers, text } = await listenToEnd(t, origin, 2)
  t.match(text, /event: stream\.expiring\ndata: {"expiresIn":[12]}\n\n[^]*event: stream\.expired\ndata: {}\n\n$/)
  t.equal(await reason, 'expired')
  t.match(await ask(t, `${origin}/events`, headers), { status: 401, json: { message: 'the token has expired: get a new one' } })
})

/** A stream by a token of a few seconds, to its end. A busy machine may take longer to open it: then with a new token. */
async function listenToEnd (t: Test, origin: string, seconds: number): Promise<{ headers: Record<string, string>, text: string }> {
  for (;;) {
    const headers = bearer(await sign({ exp: nowS() + seconds }))
    const { statusCode, inbox } = await listenTo(t, origin, '/events', headers)
    const text = await inbox.ended()
    if (statusCode === 200) return { headers, text }
  }
}

/** What a stream is told by the expiry alone. */
function record (): { stream: SseStream, told: string[] } {
  const told: string[] = []
  const note = ({ event = '', data = '' }: { event?: string, data?: unknown }): void => { told.push(`${event} ${String(data)}`) }
  const stream = { send: async (event: object) => note(event), close: (reason: string, last: object) => { note(last); told.push(reason) } } as unknown as SseStream
  return { stream, told }
}

// It was pushed: with `slowClient: 'drop'` a client that was slow at that moment never got it, and with 'close' it was cut for it.
for (const slowClient of ['close', 'drop'] as const) {
  t.test(`a client that is slow when its warning is due gets it when there is room: ${slowClient}`, async t => {
    const app = await buildApp(t, { slowClient, highWaterMarkBytes: 100_000, maxBufferedBytes: 100_000 })
    const { stream: opening } = manual(app)
    const { response, inbox } = await open(t, await listen(app))
    const stream = await opening
    response.pause()
    await stream.send({ data: 'x'.repeat(20_000_000) })
    await stuck(stream)
    t.teardown(startExpiry(stream, Date.now() + 3_600_000, 7_200_000))
    t.equal(stream.isOpen, true)
    response.resume()
    await inbox.until('event: stream.expiring\ndata: {"expiresIn":3600}')
  })
}

t.test('the warning comes as long before the end as is said, also where timers do not reach', async t => {
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

/** Timers and both clocks as the test moves them: `pass` lets time pass, `setMs` moves the wall clock alone. */
function mockClocks (t: Test): { setMs: number, pass: (ms: number) => void } {
  mock.timers.enable({ apis: ['setTimeout'] })
  let passedMs = 0
  const clocks = { setMs: 86_400_000, pass: (ms: number) => { passedMs += ms; mock.timers.tick(ms) } }
  mock.method(performance, 'now', () => passedMs)
  mock.method(Date, 'now', () => clocks.setMs + passedMs)
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  return clocks
}

// A timer knows nothing of the wall clock: a grant whose end had passed went on for as long as had been left of it before.
t.test('a clock that is set forward ends a grant within half a minute', async t => {
  const clocks = mockClocks(t)
  const { stream, told } = record()
  startExpiry(stream, Date.now() + 3_600_000, 60_000)
  clocks.setMs += 3_600_000
  clocks.pass(30_000)
  t.same(told, ['stream.expired {}', 'expired'])
})

// By the wall clock alone, set back by an hour, an hour was added to every grant.
t.test('a clock that is set back prolongs no grant', async t => {
  const clocks = mockClocks(t)
  const { stream, told } = record()
  startExpiry(stream, Date.now() + 100_000, 0)
  clocks.setMs -= 3_600_000
  clocks.pass(99_999)
  t.same(told, [])
  clocks.pass(1)
  t.same(told, ['stream.expired {}', 'expired'])
})

t.test('no warning where none is wanted, and nothing after it was called off', async t => {
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
  t.same(past.told, ['stream.expired {}', 'expired'], 'a grant that is over already warns of nothing')
})

t.test('streams leave no timer behind', async t => {
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

t.test('the application is asked again while a stream is open, and may take the grant back', async t => {
  const answers: (GrantInit | null)[] = [
    null,
    { subject: 'bob' },
    { subject: 'alice', subscribe: ['other'] }
  ]
  for (const answer of answers) {
    let now: GrantInit | null = { subject: 'alice' }
    const { origin } = await startAuthApp(t, { cookie: { name: 'session', signed: false, verify: () => now }, recheckMs: 20 }, cookies)
    const reason = nextReason(t)
    const { inbox } = await listenTo(t, origin, '/events', headers)
    await inbox.until('stream.open')
    now = answer
    t.notMatch(await inbox.ended(), /expired|revoked/, 'nothing is told in the stream')
    t.equal(await reason, 'revoked')
  }
})

// Whoever was signed out at the proxy went on listening for as long as the connection lasted.
t.test('the subject of a proxy is asked for again while a stream is open', async t => {
  let now: GrantInit | null = { subject: 'alice' }
  const { origin } = await startAuthApp(t, { proxy: { header: 'x-user', from: ['127.0.0.1'], verify: () => now }, recheckMs: 20 })
  const reason = nextReason(t)
  const { inbox } = await listenTo(t, origin, '/events', { 'x-user': 'alice' })
  await inbox.until('stream.open')
  now = null
  await inbox.ended()
  t.equal(await reason, 'revoked')
})

/** Long for a machine that is busy, and still worth waiting for. */
const FIRST_MS = 3_000

t.test('a grant that the application prolongs, or shortens, counts from then on', async t => {
  let first: number | undefined
  let expiresAtMs = 0
  const passed = deferred()
  const verify = (): GrantInit => {
    if (first === undefined) {
      first = Date.now() + FIRST_MS
      // From the next question on, whether the client has its stream by then or not.
      expiresAtMs = first + 3_600_000
      return { subject: 'alice', expiresAtMs: first }
    }
    if (Date.now() > first) passed.settle()
    return { subject: 'alice', expiresAtMs }
  }
  const { origin } = await startAuthApp(t, { cookie: { name: 'session', signed: false, verify }, recheckMs: 20, expiryWarningMs: 0 }, cookies)
  const { inbox } = await listenTo(t, origin, '/events', headers)
  await inbox.until('stream.open')
  await passed.promise
  t.notOk(inbox.isOver, 'it outlives its first end')
  expiresAtMs = Date.now() + 50
  t.match(await inbox.ended(), 'event: stream.expired')
})

t.test('an application that cannot be asked, and a store that is away, end no stream', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  let isAway = false
  const away = new Error('the database is away')
  t.teardown(() => mock.restoreAll())
  mock.method(store, 'revokedSubjects', async () => { if (isAway) throw away; return new Map() })
  const { origin } = await startAuthApp(t, { store, cookie: { name: 'session', signed: false, verify: () => { if (isAway) throw away; return { subject: 'alice' } } }, recheckMs: 20 }, { ...cookies, server: { logger: logInto(log, 'warn') } })
  const { inbox, close } = await listenTo(t, origin, '/events', headers)
  await inbox.until('stream.open')
  isAway = true
  await log.until(text => text.split('could not be checked again').length > 4)
  t.notOk(inbox.isOver)
  close()
})

// One question that was never answered stopped all that would have come after it, for every stream, for ever.
t.test('an application that never answers for one stream keeps no other from being asked, and a late answer is of no account', async t => {
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
  const { origin } = await startAuthApp(t, { cookie: { name: 'session', signed: false, verify }, recheckMs: 20, recheckTimeoutMs: 40 }, { ...cookies, server: { logger: logInto(log, 'warn') } })
  const [alice, bob] = await Promise.all(['alice', 'bob'].map(user => listenTo(t, origin, '/events', { cookie: `session=${user}` })))
  for (const { inbox } of [alice!, bob!]) await inbox.until('stream.open')
  isHanging = true
  await log.until('could not be checked again')
  t.match(linesWith(log, 'could not be checked again')[0], { err: { code: 'FST_SSE_NO_ANSWER', message: 'no answer from cookie.verify within 40 ms' } })
  hasLeft = true
  await bob!.inbox.ended()
  late.settle(null)
  const before = asked
  await until(() => asked > before + 1)
  t.notOk(alice!.inbox.isOver, 'a late no ends nothing: the next question is under way')
  isHanging = false
})

t.test('a store that never answers keeps no application from being asked, and is asked again', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  let isHanging = false
  let user: GrantInit | null = { subject: 'alice' }
  t.teardown(() => mock.restoreAll())
  mock.method(store, 'revokedSubjects', () => isHanging ? new Promise(() => {}) : Promise.resolve(new Map([['carol', Date.now()]])))
  mock.method(store, 'touch', () => new Promise(() => {}))
  const { app, origin } = await startAuthApp(t, { oneTimeToken: { store, insecure: true }, cookie: { name: 'session', signed: false, verify: () => user }, recheckMs: 20, recheckTimeoutMs: 40 }, { ...cookies, server: { logger: logInto(log, 'warn') } })
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

t.test('a store that is away at the start is told, and refuses nobody', async t => {
  const log = new Inbox()
  const store = new MemoryTokenStore()
  mock.method(store, 'revokedSubjects', async () => { throw new Error('away') })
  t.teardown(() => mock.restoreAll())
  const { origin } = await startAuthApp(t, { store, jwt: { secret: SECRET } }, { server: { logger: logInto(log, 'warn') } })
  t.match(log.text, 'it is not known yet which subjects are revoked')
  t.equal((await ask(t, `${origin}/me`, bearer(await sign()))).status, 200)
})

t.test('a revocation by another node that was not heard is found by the check', async t => {
  const store = new MemoryTokenStore()
  const { app, origin } = await startAuthApp(t, { oneTimeToken: { store, insecure: true }, jwt: { secret: SECRET }, recheckMs: 20 })
  const bearers = bearer(await sign({ iat: nowS() - 5 }))
  const { token, session } = await app.auth.issue(new Grant({ subject: 'bob', subscribe: ['news'] }, 'cookie'))
  const [byToken, byBearer, other] = await Promise.all([
    listenTo(t, origin, `/events?ot=${token}`), listenTo(t, origin, '/events', bearers), listenTo(t, origin, '/events', bearer(await sign({ sub: 'carol' })))
  ])
  await Promise.all([byToken, byBearer, other].map(({ inbox }) => inbox.until('stream.open')))
  // The store loses its listener: from here on nothing is heard.
  await store.stop()
  await store.revokeSession(session)
  await store.revokeSubject('alice', 60_000)
  await Promise.all([byToken.inbox.ended(), byBearer.inbox.ended()])
  t.equal(other.inbox.isOver, false)
  other.close()
})

// The answer of a store may be older than what was heard while it was on its way: it forgot the revocation for one round of checks.
t.test('a revocation heard while the store is asked is not forgotten by its answer', async t => {
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
  t.equal((await ask(t, `${origin}/me`, headers)).status, 401, 'the answer that was on its way has come')
  isHolding = false
  answers[1]!()
})
