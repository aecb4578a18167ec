import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../plugin/index.ts'
import { auth, MemoryTokenStore } from '../../plugin/auth/index.ts'
import type { AuthOptions } from '../../plugin/auth/index.ts'
import { redactUrls, searchFor } from '../../plugin/auth/credentials/redact-url.ts'
import { Inbox } from '../support/clients/inbox.ts'
import { linesWith, logInto } from '../support/log.ts'
import { startService } from '../support/processes/commands.ts'
import { bearer, forge, SECRET } from '../support/auth/tokens.ts'

// Regression: one GET with `?ot=e` ten times ended the process. Each credential was replaced in the result of the
// previous replacement, and "[redacted]" contains an e and a d: every repetition made the line five times as long,
// until V8 threw in pino's serializer, where nothing catches the error.

const SIZES = [1, 10, 100, 1_000]

interface LoggedApp { app: FastifyInstance, log: Inbox }

async function startLogged (
  t: Test,
  options: AuthOptions,
  server: FastifyServerOptions = {},
  serializers: object = {}
): Promise<LoggedApp> {
  const log = new Inbox()
  const app = Fastify({ ...server, logger: { ...logInto(log, 'trace') as object, ...serializers } })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(auth, options)
  app.get('/open', () => '')
  app.get('/refused', { grant: true }, () => '')
  await app.ready()
  return { app, log }
}

const everything = {
  serializers: {
    req: (request: {
      url: string, query: unknown, headers: unknown, raw: { url?: string }
    }) => ({ url: request.url, query: request.query, headers: request.headers, raw: request.raw.url })
  }
}

const apps: Record<string, (t: Test) => Promise<LoggedApp>> = {
  'tokens only JWT': t => startLogged(t, { jwt: { secret: SECRET } }),
  'one-time tokens': t => startLogged(t, { jwt: { secret: SECRET }, oneTimeToken: { store: new MemoryTokenStore() } }),
  'a rewritten URL': t => startLogged(t, { jwt: { secret: SECRET } }, {
    rewriteUrl: request => `/open?was=${request.url!}&${request.url!.split('?')[1]}`
  }),
  'a serializer that logs everything': t => startLogged(t, { jwt: { secret: SECRET } }, {}, everything)
}

const parameters = [
  'ot=e', 'access_token=d', 'o%74=e', 'ot=redacted', `ot=${'e'.repeat(43)}`, 'ot=%65', 'OT=e&access_token=redacted]'
]

for (const [name, start] of Object.entries(apps)) {
  t.test(`what is logged about a request grows no faster than the request: ${name}`, async t => {
    const { app, log } = await start(t)
    for (const path of ['/open', '/refused', '/nowhere', '/eeeeeeeeeeeeeeeeeeeeeeee']) {
      for (const parameter of parameters) {
        for (const size of SIZES) {
          log.text = ''
          const url = `${path}?${`${parameter}&`.repeat(size)}`
          await app.inject(url)
          // Three log lines per request, each with up to four copies of the URL (and the query as an object), at three
          // times its length.
          const bound = 4_000 + 3 * 4 * 4 * url.length
          t.ok(
            log.text.length > 0 && log.text.length <= bound,
            `${path}?${parameter.slice(0, 20)} x ${size}: ${log.text.length} of ${bound}`
          )
        }
      }
    }
  })
}

// The service does not log each request, but it logs requests that get a 503; each parameter appeared four times there.
t.test('what the service logs about a 503 grows no faster than the request', async t => {
  const token = forge({ alg: 'ES256', kid: 'a' }, { sub: 'a', exp: 4_102_444_800 }, 'x'.repeat(86))
  // Node rejects more than 16 KiB of headers. Each size uses a new service, because further lines of the same kind may
  // be suppressed.
  for (const size of [1, 10, 700]) {
    const { service, origin } = await startService(t, { LOG: 'memory', JWKS_URL: 'http://127.0.0.1:1/keys' })
    const answer = await fetch(`${origin}/topics/seen?${'ot=e&access_token=d&'.repeat(size)}`, {
      headers: bearer(token)
    })
    t.equal(answer.status, 503)
    await service.until(
      ({ out }) => /"req".*FST_SSE_KEYS_UNAVAILABLE.*\n|FST_SSE_KEYS_UNAVAILABLE.*"req".*\n/.test(out)
    )
    const lines = service.out.split('\n').filter(line => line.includes('"req"'))
    t.ok(lines.length === 1 && lines[0]!.length < 1_000, `x ${size}: ${lines[0]?.length} characters`)
  }
})

t.test('the expression that searches for credentials has a bounded size, whatever is sent', async t => {
  const headers = {
    authorization: `Bearer ${'a'.repeat(8_000)}`,
    cookie: Array.from({ length: 500 }, (_, at) => `name=${'c'.repeat(at)}${at}`).join('; ')
  }
  for (const size of SIZES) {
    const url = `/?${Array.from({ length: size }, (_, at) => `ot=${String(at).padStart(60, 'aaaa')}`).join('&')}`
    const raw = { url, originalUrl: url, headers }
    const values = redactUrls(raw)
    t.ok(raw.url.length <= 3 * url.length)
    const search = searchFor(raw, values)!
    t.ok(search.source.length < 16 * 100, `${search.source.length}`)
    t.ok(values.length <= 130)
  }
})

t.test('a client cannot remove its address, the host, the method or the path from the log', async t => {
  const { app, log } = await startLogged(t, { jwt: { secret: SECRET } })
  const path = '/a-path-longer-than-any-minimum'
  const host = 'a-host-longer-than-any-minimum.example'
  const remoteAddress = '2001:db8:1234:5678:9abc:def0:1234:5678'
  for (const value of [remoteAddress, host, `${host}:80`, path, path.slice(
    1
  ), 'GET', '127.0.0.1', 'request', 'a-host-longer-than-any-minimum']) {
    for (const headers of [{ host }, { host, authorization: `Bearer ${value}` }, { host, cookie: value }]) {
      log.text = ''
      await app.inject({ url: `${path}?ot=${value}&access_token=${encodeURIComponent(value)}`, remoteAddress, headers })
      t.match(linesWith(log, 'incoming request')[0], {
        req: { method: 'GET', host, remoteAddress, url: `${path}?ot=[redacted]&access_token=[redacted]` }
      }, value)
      t.match(linesWith(log, 'not found')[0]!.msg, `Route GET:${path}?ot=[redacted]`)
    }
  }
})

t.test('long credentials and cookies are hidden wherever a serializer puts them, and nothing else is', async t => {
  const jwt = `${'h'.repeat(40)}.${'p'.repeat(400)}.${'s'.repeat(43)}`
  const shown = (request: { headers: Record<string, unknown> }): object => ({
    note: `got ${String(request.headers.authorization)}, then more`,
    list: [request.headers.cookie],
    id: 7,
    none: undefined,
    ot: undefined
  })
  const { app, log } = await startLogged(t, { jwt: { secret: SECRET } }, {}, { serializers: { req: shown } })
  await app.inject({
    url: '/open', headers: { authorization: `Bearer ${jwt}`, cookie: 'theme=dark; session=0123456789abcdef; a=1' }
  })
  t.same(linesWith(log, 'incoming request')[0]!.req, {
    note: 'got Bearer [redacted], then more', list: ['theme=dark; [redacted]; a=1'], id: 7
  })
})

t.test('a serializer whose result throws when it is read does not fail the request', async t => {
  const { app, log } = await startLogged(t, { jwt: { secret: SECRET } }, {}, {
    serializers: { req: () => ({ get broken () { throw new Error('a getter') } }) }
  })
  t.equal((await app.inject('/open?ot=0123456789abcdef')).statusCode, 200)
  t.equal(linesWith(log, 'incoming request')[0]!.req, '[redacted]')
})
