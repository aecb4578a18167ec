import { mock } from 'node:test'
import t from 'tap'
import type { Test } from 'tap'
import { ask, startAuthApp } from '../../support/auth/auth-app.ts'
import type { Told } from '../../support/auth/auth-app.ts'
import { Inbox } from '../../support/clients/inbox.ts'
import { KeySetServer } from '../../support/auth/key-set.ts'
import { linesWith, logInto } from '../../support/log.ts'
import { until } from '../../support/until.ts'
import { bearer, KEYS, SECRET, sign } from '../../support/auth/tokens.ts'

const RSA = { kid: 'rsa', key: KEYS.RS256.publicKey, alg: 'RS256' }
const EC = { kid: 'ec', key: KEYS.ES256.publicKey, alg: 'ES256' }

interface Stage { issuer: KeySetServer, me: (token: string) => Promise<Told>, origin: string, log: Inbox }

async function start (t: Test, options: object = {}): Promise<Stage> {
  const issuer = await KeySetServer.start(t)
  issuer.keys = [RSA]
  const log = new Inbox()
  const { origin } = await startAuthApp(t, { jwt: { jwksUrl: issuer.url, ...options } }, {
    server: { logger: logInto(log, 'warn') }
  })
  return { issuer, origin, log, me: token => ask(t, `${origin}/me`, bearer(token)) }
}

const byRsa = (header = {}): Promise<string> =>
  sign({}, { key: KEYS.RS256.privateKey, alg: 'RS256', header: { kid: 'rsa', ...header } })
const byEc = (): Promise<string> => sign({}, { key: KEYS.ES256.privateKey, alg: 'ES256', header: { kid: 'ec' } })

t.test('the keys are fetched once for many tokens', async t => {
  const { issuer, me } = await start(t)
  const token = await byRsa()
  const answers = await Promise.all(Array.from({ length: 20 }, () => me(token)))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(issuer.fetches, 1)
})

// Otherwise an attacker could make the server fetch once per token with a made-up key id.
t.test('the keys are fetched again for an unknown key, at most once per interval, and a new key is then accepted', async t => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.teardown(() => mock.timers.reset())
  const { issuer, me } = await start(t)
  t.equal((await me(await byRsa())).status, 200)
  issuer.keys = [RSA, EC]
  for (let at = 0; at < 5; at++) {
    t.match(await me(await byEc()), { status: 401, json: { message: /signed with a key that is not known here/ } })
  }
  t.equal(issuer.fetches, 1)
  mock.timers.tick(31_000)
  t.equal((await me(await byEc())).status, 200)
  issuer.keys = [EC]
  mock.timers.tick(10 * 60_000)
  t.equal((await me(await byRsa())).status, 401, 'a key that was removed')
})

t.test('while the keys are unavailable the response is 503, and EventSource is asked to retry later', async t => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.teardown(() => mock.timers.reset())
  const { issuer, me, origin } = await start(t)
  for (const failure of [500, 404, 'no json', 'no key set', 'too large'] as const) {
    issuer.failure = failure
    t.match(await me(await byRsa()), { status: 503, json: { code: 'FST_SSE_KEYS_UNAVAILABLE' } }, String(failure))
    mock.timers.tick(2_000)
  }
  issuer.fetches = 0
  const headers = { ...bearer(await byRsa()), accept: 'text/event-stream' }
  for (let at = 0; at < 5; at++) {
    t.match(await ask(t, `${origin}/events`, headers), { status: 200, text: /^:\nretry: \d+\n$/ })
  }
  t.equal(issuer.fetches, 1, 'requests do not become fetches')
  issuer.failure = undefined
  mock.timers.tick(2_000)
  t.equal((await me(await byRsa())).status, 200)
})

const MINUTE_MS = 60_000

/** A stage whose clock the test controls, with the keys already fetched. */
async function startKnown (t: Test): Promise<Stage & { pass: (ms: number) => void }> {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.teardown(() => mock.timers.reset())
  const stage = await start(t)
  t.equal((await stage.me(await byRsa())).status, 200)
  return { ...stage, pass: ms => { mock.timers.tick(ms) } }
}

// Regression: each failed fetch paused everything for a second, including known keys: one token with an unknown key per
// second locked everybody out for as long as the issuer was unavailable.
t.test('a token of an unknown key locks nobody out while the issuer is unavailable', async t => {
  const { issuer, me, pass, log } = await startKnown(t)
  issuer.failure = 500
  pass(31_000)
  for (let second = 0; second < 5; second++) {
    t.match(await me(await byEc()), {
      status: 503, json: { code: 'FST_SSE_KEYS_UNAVAILABLE' }
    }, 'it might be a new key')
    t.match(await me(await byEc()), { status: 503 }, 'during the pause too')
    t.equal((await me(await byRsa())).status, 200)
    pass(1_100)
  }
  t.equal(issuer.fetches, 6, 'one fetch per second')
  t.match(linesWith(log, 'the key set could not be fetched'), { length: 5 })
  issuer.failure = undefined
  issuer.keys = [RSA, EC]
  t.equal((await me(await byEc())).status, 200)
})

t.test('keys continue to be used for an hour while the issuer is unavailable, and not after that', async t => {
  const { issuer, me, pass, log } = await startKnown(t)
  issuer.failure = 404
  pass(10 * MINUTE_MS)
  t.equal((await me(await byRsa())).status, 200)
  t.equal(issuer.fetches, 2, 'they were due to be fetched again')
  t.match(linesWith(log, 'the key set could not be fetched')[0], {
    err: { message: /status 404/ }, fetchedAt: /^20\d\d-/
  })
  pass(49 * MINUTE_MS)
  t.equal((await me(await byRsa())).status, 200)
  t.match(await me(await byEc()), { status: 503 })
  pass(MINUTE_MS)
  t.match(await me(await byRsa()), { status: 503, json: { code: 'FST_SSE_KEYS_UNAVAILABLE' } })
  issuer.failure = undefined
  issuer.keys = [EC]
  pass(2_000)
  t.equal((await me(await byEc())).status, 200)
  t.equal((await me(await byRsa())).status, 401, 'a key that was withdrawn meanwhile')
})

t.test('an issuer that is known to be unavailable does not delay tokens of a known key', async t => {
  const { issuer, me, pass } = await startKnown(t)
  issuer.failure = 500
  pass(10 * MINUTE_MS)
  t.equal((await me(await byRsa())).status, 200)
  issuer.failure = 'silence'
  pass(2_000)
  const { fetches } = issuer
  for (let at = 0; at < 3; at++) t.equal((await me(await byRsa())).status, 200)
  await until(() => issuer.fetches > fetches)
  t.equal(issuer.fetches, fetches + 1, 'one attempt at a time')
})

t.test('a secret is never accepted from a key set, nor an algorithm that was not chosen', async t => {
  const { issuer, me } = await start(t, { algorithms: ['RS256'] })
  issuer.keys = [RSA, EC]
  t.match(await me(await byEc()), { status: 401, json: { message: /must be signed with RS256: / } })
  t.match(await me(await sign({}, { header: { kid: 'rsa' } })), {
    status: 401, json: { message: /must be signed with RS256/ }
  })
  t.equal(issuer.fetches, 0, 'nothing is fetched for such a token')
  t.ok(SECRET)
})

t.test('a token that does not say which of several keys signed it is rejected', async t => {
  const { issuer, me } = await start(t)
  issuer.keys = [RSA, { ...RSA, kid: 'another' }]
  t.match(await me(await byRsa({ kid: undefined })), {
    status: 401, json: { message: /does not say which key signed it/ }
  })
})

// Regression: the age of the keys was measured by the wall clock: setting it back by an hour prolonged the life of a
// withdrawn key.
t.test('a clock that is set back does not prolong the life of a key', async t => {
  const { issuer, me } = await startKnown(t)
  const now = performance.now.bind(performance)
  let passedMs = 0
  mock.method(performance, 'now', () => now() + passedMs)
  t.teardown(() => mock.restoreAll())
  mock.timers.setTime(Date.now() - 60 * MINUTE_MS)
  issuer.fetches = 0
  passedMs = 11 * MINUTE_MS
  t.equal((await me(await byRsa())).status, 200)
  t.equal(issuer.fetches, 1)
  issuer.failure = 500
  passedMs = 80 * MINUTE_MS
  t.equal((await me(await byRsa())).status, 503)
})

// Regression: jose fetches again for an unknown key 30 s after the last fetch, by the wall clock: after it was set back
// by an hour, tokens signed with a new key were rejected until the keys were fetched because of their age.
t.test('a clock that is set back does not delay the fetch of a new key', async t => {
  const { issuer, me } = await startKnown(t)
  const now = performance.now.bind(performance)
  let passedMs = 0
  mock.method(performance, 'now', () => now() + passedMs)
  t.teardown(() => mock.restoreAll())
  mock.timers.setTime(Date.now() - 60 * MINUTE_MS)
  issuer.keys = [RSA, EC]
  t.equal((await me(await byEc())).status, 401, 'unknown, and not fetched again at once')
  passedMs = 31_000
  t.equal((await me(await byEc())).status, 200)
})
