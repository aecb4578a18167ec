import { spawn } from 'node:child_process'
import { once } from 'node:events'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../plugin/index.ts'
import { auth } from '../../plugin/auth/index.ts'
import { listenTo, ask } from '../support/auth/auth-app.ts'
import { startService } from '../support/processes/commands.ts'
import { Inbox } from '../support/clients/inbox.ts'
import { linesWith, logInto } from '../support/log.ts'
import { ROOT } from '../support/documents/markdown.ts'
import { bearer, SECRET, sign } from '../support/auth/tokens.ts'

// A person who reads the logs of an app must not be able to open its streams: tokens live longer than it takes to read
// a line.
t.test('a process logs no credential at trace level, on any path', async t => {
  const child = spawn(process.execPath, [...process.execArgv, ROOT + 'test/support/auth/auth-program.ts'], {
    stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, SECRET }
  })
  const written = new Inbox()
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => written.add(chunk))
  t.teardown(() => child.kill('SIGKILL'))
  const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(await written.until('Server listening'))![0]
  const { token } = (await ask(t, `${origin}/token`)).json as { token: string }
  const jwt = await sign()
  const secrets = [token, jwt, jwt.split('.')[2]!, 'cookie-value-1', 'access-token-2', 'spent-3', SECRET]

  const { inbox, close, headers } = await listenTo(t, origin, `/events?ot=${token}&x=1`)
  await inbox.until('hello')
  secrets.push(/=(.*?);/.exec(headers['set-cookie']![0]!)![1]!)
  close()
  const requests: [string, Record<string, string>][] = [
    [`/events?ot=${token}`, {}], [`/events?x=1&o%74=${token}`, {}], [
      '/events?ot=spent-3&ot=spent-3', {}
    ], [`/nowhere?ot=${token}`, {}], [`/%zz?ot=${token}`, {}], [`/events#ot=${token}`, {}],
    ['/open?access_token=access-token-2&ot', {}], ['/open?ot=%', {}], ['/open?ot=', {}], ['/me', bearer(jwt)], [
      '/fails', bearer(jwt)
    ], ['/events', bearer(`${jwt}x`)],
    ['/events', { cookie: 'session=cookie-value-1' }], [
      '/events', { cookie: 'session=cookie-value-1', origin: 'https://evil.example' }
    ]
  ]
  for (const [path, headers] of requests) await ask(t, origin + path, headers)
  await ask(t, `${origin}/fails`, { ...bearer(jwt), cookie: 'session=cookie-value-1' })
  child.stdin.end()
  await once(child, 'close')

  t.ok(linesWith(written, 'a bug').length > 0)
  for (const shown of [
    '"url":"/events?ot=[redacted]&x=1"', '"ot":"[redacted]"', 'Route GET:/nowhere?ot=[redacted] not found',
    '/open?access_token=[redacted]&ot'
  ]) {
    t.ok(written.text.includes(shown), `the application's own serializer still runs: ${shown}`)
  }
  for (const secret of secrets) t.notOk(written.text.includes(secret), secret.slice(0, 14))
})

t.test('the service logs no credential either', async t => {
  const { service, origin } = await startService(t, {
    LOG: 'memory', LOG_LEVEL: 'trace', JWT_SECRET: SECRET, COOKIE_NAME: 'session'
  })
  const jwt = await sign()
  const { token } = await (await fetch(`${origin}/events/auth`, {
    method: 'POST', headers: { ...bearer(jwt), 'content-type': 'application/json' }, body: '{"topics":["news"]}'
  })).json() as { token: string }
  const { inbox, close } = await listenTo(t, origin, `/events?topic=news&ot=${token}`)
  await inbox.until('stream.open')
  close()
  for (const path of [
    `/events?topic=news&ot=${token}`,
    `/nowhere?ot=${token}`,
    `/%zz?ot=${token}`,
    `/events#topic=news&ot=${token}`,
    `/nowhere#ot=${token}`,
    `/events?ot=${token}&topic=a%0a`
  ]) await ask(t, origin + path, { 'user-agent': 'somebody else' })
  await ask(t, `${origin}/events?topic=${jwt}`, bearer(`${jwt}x`))
  await ask(t, `${origin}/events?topic=news`, { cookie: 'session=cookie-value-1' })
  const metrics = (await ask(t, `${origin}/metrics`)).text
  await service.stop()
  t.match(service.out, /FST_SSE_BAD_TOKEN/)
  for (const secret of [token, jwt.split('.')[2]!, 'cookie-value-1', SECRET]) {
    t.notOk((service.out + service.err + metrics).includes(secret))
  }
})

t.test('loggers and factories of the application are kept, also those of routes and encapsulated plugins', async t => {
  const log = new Inbox()
  const app = Fastify({ logger: logInto(log, 'info') })
  t.teardown(() => app.close())
  app.setChildLoggerFactory((logger, bindings, options) => logger.child({ ...bindings, from: 'app' }, options))
  await app.register(sse)
  await app.register(auth, { jwt: { secret: SECRET } })
  app.get('/app', () => '')
  app.get('/raw', request => { request.log.info({ req: request.raw }, 'as Node has it'); return '' })
  app.get('/route', {
    childLoggerFactory: (logger, bindings, options) => logger.child({ ...bindings, from: 'route' }, options)
  }, () => '')
  await app.register(async inner => {
    inner.setChildLoggerFactory((logger, bindings, options) => logger.child({ ...bindings, from: 'inner' }, options))
    inner.get('/inner', () => '')
  })
  for (const from of ['app', 'route', 'inner']) await app.inject(`/${from}?ot=hidden-token`)
  for (const from of ['app', 'route', 'inner']) {
    t.match(
      linesWith(log, 'incoming request').find(line => line.from === from),
      { req: { url: `/${from}?ot=[redacted]` } },
      from
    )
  }
  await app.inject({ url: '/raw?ot=hidden-token', headers: { cookie: '' } })
  t.match(linesWith(log, 'as Node has it'), [{ req: { url: '/raw?ot=[redacted]' } }])
  app.log.info({ req: 'a word' }, 'its own')
  app.log.info({ req: { raw: 7 } }, 'its own')
  t.equal(linesWith(log, 'its own').length, 2)
  t.notMatch(log.text, 'hidden-token')
})

t.test('it works without a logger, and with one that is not pino', async t => {
  const lines: unknown[] = []
  const note = (...words: unknown[]): void => { lines.push(words) }
  const logger = {
    level: 'info',
    info: note,
    error: note,
    debug: note,
    fatal: note,
    warn: note,
    trace: note,
    silent: note,
    child: () => logger
  }
  for (const options of [{}, { loggerInstance: logger }]) {
    const app = Fastify(options)
    t.teardown(() => app.close())
    await app.register(sse)
    await app.register(auth, { jwt: { secret: SECRET } })
    app.get('/', { grant: true }, () => '')
    t.equal((await app.inject('/?ot=x')).statusCode, 401)
    t.equal((await app.inject({ url: '/', headers: bearer(await sign()) })).statusCode, 200)
  }
  t.ok(lines.length > 0)
})

t.test('plain data that is nested too deeply for a log is left out, and other objects are left alone', async t => {
  const log = new Inbox()
  const deep = { a: { b: { c: { d: { e: { f: 'token-in-the-deep' } } } } } }
  const when = new Date(0)
  const app = Fastify({
    logger: { ...logInto(log, 'info') as object, serializers: { req: () => ({ deep, when, none: null, count: 1 }) } }
  })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(auth, { jwt: { secret: SECRET } })
  app.get('/', () => '')
  await app.inject('/?ot=token-in-the-deep')
  t.match(linesWith(log, 'incoming request')[0], { req: { when: '1970-01-01T00:00:00.000Z', none: null, count: 1 } })
  t.notMatch(log.text, 'token-in-the-deep')
  await app.inject('/')
  t.match(linesWith(log, 'incoming request')[1], { req: { deep } }, 'nothing of a request without credentials is left out')
})
