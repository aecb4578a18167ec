import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import cookie from '@fastify/cookie'
import t from 'tap'
import { tokenChecks } from '../../plugin/auth/one-time/one-time-token-options.ts'
import type { Test } from 'tap'
import { auth, Grant, MemoryTokenStore } from '../../plugin/auth/index.ts'
import type { Auth, AuthOptions } from '../../plugin/auth/index.ts'
import { authChecks } from '../../plugin/auth/options.ts'
import { buildApp } from '../support/apps/app.ts'
import { tableRows } from '../support/documents/markdown.ts'
import { KEYS, SECRET } from '../support/auth/tokens.ts'

const jwt = { secret: SECRET }
const verify = (): null => null
const store = new MemoryTokenStore()

/** The error for bad options at registration; undefined for valid ones. */
async function toldOf (t: Test, options: object): Promise<string | undefined> {
  const app = await buildApp(t)
  return Promise.resolve(app.register(auth, options as AuthOptions))
    .then(() => undefined, (error: Error & { code: string }) => `${error.code} ${error.message}`)
}

t.test('each option out of its range fails the registration with its name, its range and the value seen', async t => {
  const rsa1024 = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const bad: Record<string, [object, ...unknown[]]> = {
    'jwt.secret': [{}, 'short', 7, Buffer.alloc(31), null],
    'jwt.previousSecret': [jwt, 'short', 7, Buffer.alloc(31), null],
    'jwt.publicKey': [
      { algorithm: 'RS256' },
      'no key',
      {},
      rsa1024,
      KEYS.ES256.pem,
      KEYS.RS256.privateKey,
      KEYS.RS256.privateKey.export({ type: 'pkcs1', format: 'pem' }),
      KEYS.RS256.privateKey.export({ format: 'jwk' }),
      createSecretKey(Buffer.alloc(32))
    ],
    'jwt.algorithm': [{ publicKey: KEYS.RS256.pem }, 'none', 'HS256', 'rs256', 7, undefined],
    'jwt.jwksUrl': [{}, 'http://id.example', 'nowhere', 7, 'https://user:secret@', 'ftp://id.example'],
    'jwt.algorithms': [{ jwksUrl: 'https://id.example' }, [], ['HS256'], ['none'], 'RS256'],
    'jwt.issuer': [jwt, '', 7],
    'jwt.audience': [
      jwt, '', 7, { subscribe: 'a' }, { subscribe: 'a', publish: '' }, { subscribe: 'a', publish: 'b', c: 'd' }
    ],
    'jwt.clockToleranceMs': [jwt, -1, 300_001, 1.5, '5'],
    'jwt.claim': [jwt, '', 7],
    'jwt.maxTokenBytes': [jwt, 255, 65_537],
    'cookie.name': [{ verify }, '', 'a b', 'a=b', 7, undefined],
    'cookie.signed': [{ name: 'a', verify }, 'yes'],
    'cookie.verify': [{ name: 'a' }, 'yes', undefined],
    'cookie.jwt': [{ name: 'a' }, 'yes'],
    'proxy.header': [{ from: ['::1'] }, '', 'x user', 7, undefined],
    'proxy.from': [{ header: 'x' }, [], '::1', ['proxy'], ['10.0.0.0/33'], ['::/129'], [7], ['10.0.0.0/'], undefined],
    'proxy.verify': [{ header: 'x', from: ['::1'] }, 7],
    'proxy.subscribe': [{ header: 'x', from: ['::1'] }, 'news', ['a b'], [7]],
    'proxy.publish': [{ header: 'x', from: ['::1'] }, 'news'],
    'proxy.maxLifetimeMs': [{ header: 'x', from: ['::1'] }, 0, 999, 2_147_483_648, Infinity, '1h'],
    store: [{}, {}, 7, null],
    origins: [{}, 'https://app.example', ['app.example'], ['https://app.example/'], ['*'], ['null'], [7]],
    hosts: [{}, [], ['https://app.example'], ['a b'], [7], ['*.example']],
    expiryWarningMs: [{}, -1, 2_147_483_648],
    recheckMs: [{}, 9, 2_147_483_648],
    recheckTimeoutMs: [{}, 9, 2_147_483_648],
    decoratorName: [{}, '', 'sse auth', '1st', 7]
  }
  t.same(Object.keys(bad), Object.keys(authChecks))
  for (const [name, [beside, ...values]] of Object.entries(bad)) {
    const [group = '', option] = name.split('.')
    for (const value of values) {
      const options = option === undefined ? { jwt, [group]: value } : { [group]: { ...beside, [option]: value } }
      const told = await toldOf(t, options) ?? ''
      t.ok(
        told.startsWith(`FST_SSE_BAD_OPTION auth: option "${name}" must be ${authChecks[name]!.range}, saw `),
        `${name}: ${told}`
      )
    }
  }
})

t.test('docs/auth.md lists the options with their ranges', async t => {
  t.same(tableRows('docs/auth.md', 'Option').map(([name, , allowed]) => [name, allowed]), Object.entries(authChecks)
    .map(([name, { range }]) => [name, range]))
})

t.test('errors reveal no secret and no password', async t => {
  const told = [
    await toldOf(t, { jwt: { secret: 'too-short-a-secret' } }),
    await toldOf(t, { jwt: { secret: SECRET, previousSecret: Buffer.from('too-short-a-secret') } }),
    await toldOf(t, { jwt: { jwksUrl: 'http://user:too-short@id.example' } })
  ]
  t.notMatch(told.join(), /too-short/)
  t.match(told, [/saw 18 bytes$/, /saw 18 bytes$/, /http:\/\/\*\*\*@id\.example/])
})

t.test('invalid combinations of options are rejected', async t => {
  const bad: [object, RegExp][] = [
    [{}, /"options" must be given with at least one of jwt, cookie, proxy, oneTimeToken, saw none of them/],
    [{ jwtt: 1 }, /"jwtt" must be one of jwt, .*, saw an unknown option/],
    [{ jwt: { secrets: 1 } }, /"jwt.secrets" must be one of jwt.secret, .*, saw an unknown option/],
    [{ jwt: 7 }, /"jwt" must be an object, saw number/],
    [{ jwt: {} }, /"jwt" must be given with one of secret, publicKey, jwksUrl, saw none of them/],
    [{ jwt: { secret: SECRET, jwksUrl: 'https://id.example' } }, /saw secret and jwksUrl/],
    [{ jwt: { secret: SECRET, algorithm: 'RS256' } }, /"jwt.algorithm" must be given with jwt.publicKey only/],
    [
      { jwt: { previousSecret: SECRET, jwksUrl: 'https://id.example' } },
      /"jwt.previousSecret" must be given with jwt.secret only/
    ],
    [{ jwt: { secret: SECRET, algorithms: ['RS256'] } }, /"jwt.algorithms" must be given with jwt.jwksUrl only/],
    [{ cookie: { name: 'a', jwt: true } }, /"cookie.jwt" must be given together with jwt/],
    [{ jwt, cookie: { name: 'a', jwt: true, verify } }, /"cookie.verify" must be left out where cookie.jwt is true/],
    [
      { jwt, cookie: { name: 'a', jwt: true, signed: true } },
      /"cookie.signed" must be left out where cookie.jwt is true/
    ],
    [{ store, oneTimeToken: { store } }, /"store" must be left out where oneTimeToken has one/],
    [{ oneTimeToken: {} }, /option "store"/]
  ]
  for (const [options, message] of bad) t.match(await toldOf(t, options), message)
  // An explicit undefined counts as not given, at every level.
  const none = (names: string[]): object => Object.fromEntries(names.map(name => [name, undefined]))
  const jwtNone = none(Object.keys(authChecks)
    .filter(name => name.startsWith('jwt.'))
    .map(name => name.slice('jwt.'.length)))
  t.equal(await toldOf(t, {
    jwt: { ...jwtNone, ...jwt },
    cookie: undefined,
    proxy: undefined,
    origins: undefined,
    expiryWarningMs: undefined,
    store
  }), undefined)
  t.equal(await toldOf(t, { jwt, oneTimeToken: { ...none(Object.keys(tokenChecks)), store } }), undefined)
  t.match(await toldOf(t, { jwt, oneTimeToken: { store: undefined } }), /option "store"/)
  t.match(
    await toldOf(t, { jwt: jwtNone }),
    /"jwt" must be given with one of secret, publicKey, jwksUrl, saw none of them/
  )
})

t.test('a cookie requires @fastify/cookie, and a signed one its secret; registered before or after', async t => {
  const start = async (options: object, ...cookies: object[]): Promise<unknown> => {
    const app = await buildApp(t)
    await app.register(auth, { cookie: { name: 'a', verify, ...options } })
    for (const given of cookies) await app.register(cookie, given)
    return app.ready().then(() => undefined, (error: Error) => error.message)
  }
  t.match(
    await start({}),
    /"cookie" must be given together with @fastify\/cookie, which the app registers, saw an app without it/
  )
  t.match(await start({}, {}), /"cookie.signed" must be false, or @fastify\/cookie registered with a secret/)
  t.equal(await start({}, { secret: SECRET }), undefined)
  t.equal(await start({ signed: false }, {}), undefined)
})

/** As a string, so that TypeScript allows a value of another type. */
const OTHER: string = 'auth'

// Regression: an app with @fastify/auth could not register this plugin at all, because both provide `app.auth`.
t.test('decoratorName renames the property of the app, which another plugin may provide', async t => {
  const app = await buildApp(t)
  app.decorate(OTHER, () => 'of another plugin')
  const options = { jwt, oneTimeToken: { store: new MemoryTokenStore(), insecure: true } }
  await t.rejects(Promise.resolve(app.register(auth, options)), {
    code: 'FST_SSE_BAD_OPTION',
    message: 'auth: option "decoratorName" must be a name that no other plugin uses, such as "sseAuth", ' +
      'saw "auth", which this app already has'
  })
  const second = await buildApp(t)
  second.decorate(OTHER, () => 'of another plugin')
  await second.register(auth, { ...options, decoratorName: 'sseAuth' })
  const { sseAuth } = second as unknown as { sseAuth: Auth }
  const grant = new Grant({ subject: 'ann', subscribe: ['news'] }, 'cookie')
  t.match(await sseAuth.issue(grant, { topics: ['news'] }), { token: String })
  t.same((second.auth as unknown as () => string)(), 'of another plugin')
})
