import { decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import { TestService } from '../../../support/service/service-app.ts'
import { CommandCall, runCommand } from '../../../support/processes/terminal.ts'

// `resumable-sse token`, and its tokens used with the real service.

const JWT_SECRET = 'a secret of the tests, long enough for HS256'

t.test('a token grants the named rights, for publish and tail, and nothing else', async t => {
  const service = await TestService.start(t, { JWT_SECRET })
  const { code, out } = await runCommand([
    'token', '--sub', 'me', '--subscribe', 'news.*,orders', '--publish', 'news.*'
  ], { JWT_SECRET })
  t.equal(code, 0)
  const env = { RESUMABLE_SSE_TOKEN: out.trim(), RESUMABLE_SSE_URL: service.origin }
  t.match(await runCommand(['publish', 'news.one', 'hello'], env), { code: 0, err: '' })
  const call = new CommandCall(['tail', 'news.one', 'orders', '--last', '1'], env)
  await call.out.until('message hello\n')
  call.leave()
  t.equal(await call.code, 0)
  t.match(await runCommand(['publish', 'orders', 'x'], env), { code: 1, err: /^resumable-sse: 403 / })
  t.match(await runCommand(['tail', 'other'], env), { code: 1, err: /^resumable-sse: 403 / })
  t.match(await runCommand(['tail', 'news.one', '--url', service.origin]), { code: 1, err: /^resumable-sse: 401 .* \(set RESUMABLE_SSE_TOKEN or --token\)$/m })
})

t.test('its claims are those that the service is configured to check', async t => {
  const env = {
    JWT_SECRET,
    JWT_CLAIM: 'rights',
    JWT_ISSUER: 'https://issuer.example',
    JWT_AUDIENCE: 'listen',
    JWT_PUBLISH_AUDIENCE: 'publish'
  }
  const service = await TestService.start(t, env)
  const { out } = await runCommand(['token', '--publish=*', '--expires-in=10m'], env)
  const { iat = 0, exp = 0, ...claims } = decodeJwt(out.trim())
  t.same(claims, {
    sub: 'cli', rights: { subscribe: [], publish: ['*'] }, iss: 'https://issuer.example', aud: ['listen', 'publish']
  })
  t.equal(exp - iat, 600)
  t.match(await runCommand(['publish', 'news', 'x', '--token', out.trim(), '--url', service.origin]), {
    code: 0, err: ''
  })
  const { out: listening } = await runCommand(['token', '--subscribe=news'], env)
  t.match(decodeJwt(listening.trim()), { aud: ['listen'] })
  t.notOk('aud' in decodeJwt((await runCommand(['token'], { JWT_SECRET })).out.trim()))
})

t.test('without the secret of the service, or with invalid flags, no token is issued', async t => {
  t.match(await runCommand(['token']), {
    code: 1, out: '', err: 'resumable-sse: JWT_SECRET must be a random string of at least 32 bytes, saw none\n'
  })
  t.match(await runCommand(['token'], { JWT_SECRET: 'short' }), {
    code: 1, out: '', err: 'resumable-sse: JWT_SECRET must be a random string of at least 32 bytes, saw "***"\n'
  })
  t.match(await runCommand(['token', 'news'], { JWT_SECRET }), { code: 2, err: /unknown argument "news"/ })
  for (const lifetime of ['0s', 'soon']) {
    t.match(
      await runCommand(['token', '--expires-in', lifetime], { JWT_SECRET }),
      { code: 2, err: new RegExp(`saw "${lifetime}"`) }
    )
  }
})

t.test('the secret can be read from the same file as by the service', async t => {
  const file = `${t.testdir({ secret: `${JWT_SECRET}\n` })}/secret`
  const { code, out } = await runCommand(['token'], { JWT_SECRET_FILE: file })
  t.equal(code, 0)
  t.equal((await jwtVerify(out.trim(), Buffer.from(JWT_SECRET))).payload.sub, 'cli')
  t.match(await runCommand(['token'], { JWT_SECRET_FILE: '/nowhere' }), {
    code: 1, err: /JWT_SECRET_FILE must be the path of a readable file/
  })
})
