import { createHmac, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../../plugin/auth/index.ts'
import { matchesPattern } from '../../../plugin/common/pattern.ts'
import { ask, startAuthApp } from '../../support/auth/auth-app.ts'
import type { AuthApp } from '../../support/auth/auth-app.ts'
import { until } from '../../support/until.ts'
import { bearer, forge, KEYS, nowS, SECRET, sign } from '../../support/auth/tokens.ts'

// One attack per test. Each is rejected with 401 before anything happens, and the message never contains any part of
// the token.

const good = { sub: 'mallory', exp: nowS() + 3_600, topics: { subscribe: ['*'] } }

async function refuses (t: Test, { origin }: AuthApp, token: string, message: RegExp): Promise<void> {
  const { status, headers, json, text } = await ask(t, `${origin}/me`, bearer(token))
  t.match({ status, headers, json }, {
    status: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    json: { code: 'FST_SSE_UNAUTHORIZED', message }
  })
  for (const part of token.split('.')) if (part.length > 8) t.notOk(text.includes(part), 'the response reveals nothing of the token')
}

// An unsigned token declares that it needs no signature (RFC 8725, section 2.1).
t.test('alg none is rejected, in any spelling', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
    await refuses(t, app, forge({ alg }, good), /must be signed with HS256|not a signed JSON Web Token/)
    await refuses(t, app, forge({ alg }, good, 'AAAA'), /must be signed with HS256|not a signed JSON Web Token/)
  }
  await refuses(t, app, forge({}, good), /not a signed/)
})

// Everybody knows the public key; a verifier that lets the token choose the algorithm would use its bytes as an HS256
// secret.
t.test('a public key used as a secret is rejected', async t => {
  for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
    const { pem, publicKey } = KEYS[algorithm]
    const app = await startAuthApp(t, { jwt: { publicKey: pem, algorithm } })
    for (const secret of [
      pem,
      pem.trim(),
      publicKey.export({ type: 'spki', format: 'der' }),
      JSON.stringify(publicKey.export({ format: 'jwk' }))
    ]) {
      const unsigned = forge({ alg: 'HS256' }, good).replace(/\.$/, '')
      const signature = createHmac('sha256', secret).update(unsigned).digest('base64url')
      await refuses(t, app, `${unsigned}.${signature}`, new RegExp(`must be signed with ${algorithm}`))
    }
  }
})

t.test('another algorithm of the same key is rejected', async t => {
  const app = await startAuthApp(t, { jwt: { publicKey: KEYS.RS256.pem, algorithm: 'RS256' } })
  for (const alg of ['PS256', 'RS512']) {
    await refuses(t, app, await sign({}, { key: KEYS.RS256.privateKey, alg }), /must be signed with RS256/)
  }
  const secret = await startAuthApp(t, { jwt: { secret: SECRET } })
  for (const alg of ['HS384', 'HS512']) await refuses(t, secret, await sign({}, { alg }), /must be signed with HS256/)
})

t.test('another issuer\'s key and a changed payload are rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  await refuses(t, app, await sign({}, { key: Buffer.from('x'.repeat(32)) }), /the signature of the token is wrong/)
  const [head, , signature] = (await sign()).split('.')
  const [, payload] = forge({}, good).split('.')
  await refuses(t, app, `${head}.${payload}.${signature}`, /the signature of the token is wrong/)
})

// A token that contains its key, or a URL to fetch it from, would be verified with the attacker's key (and cause a
// request).
t.test('headers that bring a key along, or ask for an extension, are rejected', async t => {
  const app = await startAuthApp(t, { jwt: { publicKey: KEYS.ES256.pem, algorithm: 'ES256' } })
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = own.publicKey.export({ format: 'jwk' })
  const headers = {
    jwk, jku: 'https://evil.example/keys', x5u: 'https://evil.example/cert', x5c: ['MIIB'], crit: ['b64']
  }
  for (const [name, value] of Object.entries(headers)) {
    const header = name === 'crit' ? { crit: ['exp'], exp: 1 } : { [name]: value }
    await refuses(
      t,
      app,
      forge({ alg: 'ES256', ...header }, good, 'AAAA'),
      new RegExp(`has the header "${name}", which is not allowed`)
    )
  }
  await refuses(t, app, await sign({}, { key: own.privateKey, alg: 'ES256' }), /the signature of the token is wrong/)
})

t.test('tokens that are expired, not valid yet or without an expiry are rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  await refuses(t, app, await sign({}, { expiresInS: -1 }), /has expired: get a new one/)
  await refuses(t, app, await sign({ exp: nowS() }), /has expired/)
  await refuses(t, app, await sign({ nbf: nowS() + 60 }), /is not valid yet: try again later/)
  const signed = (payload: object): string => {
    const unsigned = forge({ alg: 'HS256' }, payload).replace(/\.$/, '')
    return `${unsigned}.${createHmac('sha256', SECRET).update(unsigned).digest('base64url')}`
  }
  await refuses(t, app, signed({ sub: 'a' }), /no claim "exp", which is required/)
  await refuses(t, app, signed({ ...good, exp: '9999999999' }), /the claim "exp"/)
  await refuses(t, app, signed({ exp: good.exp }), /no claim "sub"/)
  for (const sub of ['', 7, null, 'x'.repeat(257), 'a\r\nSet-Cookie: b', 'a\u0000', 'a\u0085']) {
    await refuses(t, app, signed({ ...good, sub }), /"sub" must have 1 to 256 characters/)
  }
  await refuses(t, app, signed([] as object), /not a signed JSON Web Token/)
})

t.test('clocks may differ by the tolerance, and the grant ends when the token is no longer accepted', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET, clockToleranceMs: 30_000 } })
  const exp = nowS() - 10
  t.match(await ask(t, `${origin}/me`, bearer(await sign({ exp, nbf: nowS() + 20 }))), {
    status: 200, json: { expiresAtMs: exp * 1_000 + 30_000 }
  })
  t.equal((await ask(t, `${origin}/me`, bearer(await sign({ exp: nowS() - 40 })))).status, 401)
})

// A token for another service of the same issuer must not be accepted.
t.test('a token for another issuer or audience is rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET, issuer: 'https://id.example', audience: 'events' } })
  const iss = 'https://id.example'
  t.equal((await ask(t, `${app.origin}/me`, bearer(await sign({ iss, aud: ['other', 'events'] })))).status, 200)
  await refuses(t, app, await sign({ iss, aud: 'other' }), /claim "aud" of the token is not the one expected here/)
  await refuses(t, app, await sign({ iss }), /no claim "aud"/)
  await refuses(t, app, await sign({ iss: 'https://id.example/', aud: 'events' }), /claim "iss"/)
})

t.test('with an audience for each right, a token has the rights of the audiences that it names', async t => {
  const { origin } = await startAuthApp(t, {
    jwt: { secret: SECRET, audience: { subscribe: 'listen', publish: 'publish' } }
  })
  const topics = { subscribe: ['a'], publish: ['b'], revoke: true }
  const rights = async (aud: string | string[]): Promise<unknown> => {
    const { subscribe, publish, revoke } = (await ask(t, `${origin}/me`, bearer(await sign({ topics, aud })))).json
    return [subscribe, publish, revoke]
  }
  t.same(await rights('listen'), [['a'], [], false])
  t.same(await rights('publish'), [[], ['b'], true])
  t.same(await rights(['publish', 'listen']), [['a'], ['b'], true])
})

t.test('a token that is too long is not parsed, and anything other than a token is rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET, maxTokenBytes: 512 } })
  await refuses(t, app, await sign({ filler: 'x'.repeat(512) }), /more than 512 bytes/)
  for (const token of [
    '', 'x', 'a.b', 'a.b.c', 'a.b.c.d.e', '..', '%00.%00.%00', 'eyJhbGciOiJIUzI1NiJ9.e30', `${await sign()}.`
  ]) await refuses(t, app, token, /not a signed JSON Web Token|signature/)
})

t.test('headers that exceed Node\'s limit are rejected by Node, and the server continues', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET, maxTokenBytes: 65_536 } })
  t.equal((await ask(t, `${origin}/me`, bearer('x'.repeat(20_000)))).status, 431)
  t.equal((await ask(t, `${origin}/me`, bearer(await sign()))).status, 200)
})

t.test('two Authorization headers, of which proxies and servers might each use a different one, are rejected', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const token = `Bearer ${await sign()}`
  for (const authorization of [[token, token], [token, 'Bearer x'], ['Basic eA==', token]]) {
    t.match(await ask(t, `${origin}/me`, { authorization }), {
      status: 401, json: { message: 'the header authorization was sent twice: send it once' }
    })
  }
  t.match(await ask(t, `${origin}/me`, { authorization: 'Basic eA==' }), {
    status: 401, headers: { 'www-authenticate': 'Bearer' }, json: { message: /^no credentials/ }
  }, 'another scheme is not handled here')
  t.match(await ask(t, `${origin}/me`, { authorization: 'Bearer' }), { status: 401, json: { message: /not a signed/ } })
  t.match(await ask(t, `${origin}/me`, { authorization: token.replace('Bearer', 'bEARER') }), { status: 200 })
})

// Users who can choose their own name (which becomes `sub`) must not gain a wildcard by it.
t.test('a pattern whose claim would act as a wildcard, or as more than a part of a topic, is left out', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const subscribe = async (claims: object, patterns: string[]): Promise<unknown> =>
    (await ask(t, `${origin}/me`, bearer(await sign({ ...claims, topics: { subscribe: patterns } })))).json.subscribe
  t.same(await subscribe({ sub: 'bob' }, ['user.{sub}', '{sub}.{sub}', 'all.*']), ['user.bob', 'bob.bob', 'all.*'])
  t.same(await subscribe({ org: 'acme' }, ['{org}.{sub}']), ['acme.alice'])
  for (const sub of ['*', 'a*', 'a b', 'ä', 'a,b', '{org}', 'a\\', 'a?']) {
    t.same(await subscribe({ sub, org: '*' }, ['user.{sub}', 'news']), ['news'], sub)
  }
  t.same(await subscribe({ org: 7, list: ['*'] }, [
    '{org}', '{list}', '{missing}', '{}', '{__proto__}', '{toString}', 'a b', 'a\nb', '{', 'x'.repeat(257)
  ]), [])
  t.notOk(matchesPattern('user.bob', 'user.bobby'))
})

// Regression: the pattern orders.{sub}.* gave the subject "bob.admin" a topic below orders.bob., and al@shop.co the
// topics of al@shop.co.uk.
t.test('a claim with a separator of the pattern does not reach the topics of another subject', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const subscribe = async (sub: string, ...patterns: string[]): Promise<unknown> =>
    (await ask(t, `${origin}/me`, bearer(await sign({ sub, topics: { subscribe: patterns } })))).json.subscribe
  t.same(await subscribe('bob.admin', 'orders.{sub}.*', 'orders.{sub}', '{sub}.inbox', 'orders/{sub}/*', '{sub}', 'o:{sub}'), ['orders/bob.admin/*', 'bob.admin', 'o:bob.admin'])
  t.same(await subscribe('al@shop.co', 'user.{sub}.*', 'user/{sub}/*'), ['user/al@shop.co/*'])
  t.same(await subscribe('a/b', 'u/{sub}', 'u.{sub}.*'), ['u.a/b.*'])
  t.same(await subscribe('a:b', 'u:{sub}', 'u/{sub}:x', 'u.{sub}'), ['u.a:b'])
  t.same(await subscribe('bob', `orders.{sub}.${'x'.repeat(250)}`, '{sub}'.repeat(52)), [])
})

t.test('invalid times, and times in the future, are rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  const signed = (json: string): string => {
    const unsigned = `${forge({ alg: 'HS256' }, {}).split('.')[0]!}.${Buffer.from(json).toString('base64url')}`
    return `${unsigned}.${createHmac('sha256', SECRET).update(unsigned).digest('base64url')}`
  }
  // JSON.parse returns Infinity: the token would never expire.
  for (const exp of ['1e400', '1e300', '8640000000001']) {
    await refuses(t, app, signed(`{"sub":"a","exp":${exp}}`), /the claim "exp" must be a time/)
  }
  for (const iat of ['1e400', '-1', '"1"', String(nowS() + 30), String(nowS() + 86_400)]) {
    await refuses(
      t,
      app,
      signed(`{"sub":"a","exp":${good.exp},"iat":${iat}}`),
      /the claim "iat" must be|the claim "iat" of the token/
    )
  }
  t.equal((await ask(t, `${app.origin}/me`, bearer(await sign({ iat: nowS() + 3 })))).status, 200, 'clocks differ')
})

// Regression: the issuer's clock was three seconds ahead, so a token signed just before a revocation was dated after it
// and stayed valid.
t.test('a token of an issuer whose clock is ahead can still be revoked', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  const token = await sign({ iat: nowS() + 3 })
  t.equal((await ask(t, `${app.origin}/me`, bearer(token))).status, 200)
  await app.app.auth.revoke({ subject: 'alice' })
  await refuses(t, app, token, /were revoked/)
})

// A DPoP proof or a logout token is signed by the same issuer, but is not an access token (RFC 8725, section 3.11).
t.test('a token of another type is rejected', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET } })
  for (const typ of ['dpop+jwt', 'logout+jwt', 'secevent+jwt', '', 'JWE']) {
    await refuses(t, app, await sign({}, { header: { typ } }), /is of another type/)
  }
  for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+JWT']) {
    t.equal((await ask(t, `${app.origin}/me`, bearer(await sign({}, { header: { typ } })))).status, 200, typ)
  }
})

t.test('what a valid token does not allow is reported in the header of RFC 6750', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const { status, headers } = await ask(
    t,
    `${origin}/events?topic=secret`,
    bearer(await sign({ topics: { subscribe: ['news'] } }))
  )
  t.match({ status, headers }, { status: 403, headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' } })
  t.match(await ask(t, `${origin}/me`), { status: 401, headers: { 'www-authenticate': 'Bearer' } })
})

t.test('a token from before a forgotten revocation is rejected', async t => {
  const { app, origin } = await startAuthApp(t, {
    jwt: { secret: SECRET },
    oneTimeToken: { store: new MemoryTokenStore(), revocationMs: 100, insecure: true },
    recheckMs: 20
  })
  const [old, other] = [await sign({ iat: nowS() - 10 }), await sign({ sub: 'bob', iat: nowS() - 10 })]
  await app.auth.revoke({ subject: 'alice' })
  await staysRejected(t, `${origin}/me`, old)
  t.match(await ask(t, `${origin}/me`, bearer(other)), {
    status: 401, json: { message: /predates the stored revocations/ }
  }, 'as is any token that old')
})

/** `old` is rejected as revoked, and once the revocation is forgotten, as too old: never is it valid in between. */
async function staysRejected (t: Test, url: string, old: string): Promise<void> {
  await until(async () => {
    const { status, text } = await ask(t, url, bearer(old))
    if (status !== 401) throw new Error(`expected 401, got ${status}: it was valid again`)
    return /predates the stored revocations/.test(text)
  })
}

t.test('a missing topics claim allows nothing, and an invalid one is reported', async t => {
  const app = await startAuthApp(t, { jwt: { secret: SECRET, claim: 'https://app.example/topics' } })
  const { json } = await ask(t, `${app.origin}/me`, bearer(await sign()))
  t.match(json, { subscribe: [], publish: [], revoke: false })
  for (const topics of ['news', ['news'], null, 7, { subscribe: 'news' }, { publish: [7] }, { revoke: 'yes' }]) {
    await refuses(
      t,
      app,
      await sign({ 'https://app.example/topics': topics }),
      /the claim "https:\/\/app.example\/topics" of the token must be/
    )
  }
})

// A cursor also identifies topics, but it only says where to continue, never what may be read.
t.test('a topic without rights is rejected, even with a valid cursor', async t => {
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const { ids } = await app.topics.publish('secret', [{ data: 1 }, { data: 2 }])
  const headers = { ...bearer(await sign({ topics: { subscribe: ['news'] } })), 'last-event-id': ids[0]! }
  t.match(await ask(t, `${origin}/events?topic=secret`, headers), { status: 403, json: { code: 'FST_SSE_FORBIDDEN' } })
  t.match(await ask(t, `${origin}/events?topic=news&topic=secret`, headers), { status: 403 })
})

t.test('a topic with line breaks is rejected as a topic, and is in no header', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const { status, json, headers } = await ask(
    t,
    `${origin}/events?topic=news%0d%0aset-cookie:%20a=b`,
    bearer(await sign())
  )
  t.match({ status, json }, { status: 400, json: { code: 'TOPICS_BAD_TOPIC' } })
  t.equal(headers['set-cookie'], undefined)
})
