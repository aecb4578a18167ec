import { randomBytes } from 'node:crypto'
import t from 'tap'
import { ask, listenTo, startAuthApp } from '../../support/auth/auth-app.ts'
import { bearer, KEYS, SECRET, sign } from '../../support/auth/tokens.ts'

t.test('a bearer token opens the stream of the topics it names, and no other', async t => {
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  const token = await sign({ topics: { subscribe: ['orders.*'] } })
  const { statusCode, inbox } = await listenTo(t, origin, '/events?topic=orders.1', bearer(token))
  t.equal(statusCode, 200)
  await inbox.until('stream.open')
  await app.topics.publish('orders.1', { data: 'hello' })
  await inbox.until('data: hello')
  const refused = await ask(t, `${origin}/events?topic=orders.1&topic=news`, bearer(token))
  t.match(refused, {
    status: 403, json: { code: 'FST_SSE_FORBIDDEN', message: 'not allowed to subscribe to topic "news"' }
  })
})

t.test('without credentials the response is 401, and says which ones to send', async t => {
  const { origin } = await startAuthApp(t, { jwt: { secret: SECRET } })
  for (const path of ['/events', '/me']) {
    t.match(await ask(t, origin + path), {
      status: 401,
      headers: { 'www-authenticate': 'Bearer' },
      json: {
        statusCode: 401,
        code: 'FST_SSE_UNAUTHORIZED',
        message: 'no credentials: send a token as "Authorization: Bearer …"'
      }
    })
  }
})

// Regression: changing the secret signed everybody out at once, and during a rolling restart instances rejected each
// other's tokens.
t.test('during a rolling change of the secret, tokens of the new and of the previous one are accepted, and no others', async t => {
  const [next, other] = [randomBytes(32), randomBytes(32)]
  const { origin } = await startAuthApp(t, { jwt: { secret: next, previousSecret: SECRET } })
  const statusOf = async (...signed: Parameters<typeof sign>): Promise<unknown> =>
    (await ask(t, `${origin}/me`, bearer(await sign(...signed)))).status
  t.equal(await statusOf({}, { key: next }), 200)
  t.equal(await statusOf(), 200)
  t.equal(await statusOf({}, { key: other }), 401)
  t.equal(await statusOf({}, { expiresInS: -1 }), 401, 'an old token of the previous secret')
  t.equal(await statusOf({ sub: '' }), 401, 'all checks apply to both')
})

for (const [algorithm, { pem, privateKey, publicKey }] of Object.entries(KEYS)) {
  t.test(`a public key for ${algorithm} is accepted as PEM, JWK and KeyObject`, async t => {
    for (const key of [pem, publicKey.export({ format: 'jwk' }), publicKey]) {
      const { origin } = await startAuthApp(t, { jwt: { publicKey: key, algorithm: algorithm as keyof typeof KEYS } })
      const token = await sign({ sub: 'bob' }, { key: privateKey, alg: algorithm })
      t.match(await ask(t, `${origin}/me`, bearer(token)), { status: 200, json: { subject: 'bob', source: 'bearer' } })
    }
  })
}
