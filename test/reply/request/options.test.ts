import t from 'tap'
import Fastify from 'fastify'
import type { FastifySchema } from 'fastify'
import sse from '../../../plugin/index.ts'
import { injectSse } from '../../../plugin/testing/index.ts'
import type { SseOptions, SsePluginOptions, SseRouteOptions } from '../../../plugin/index.ts'
import { checks } from '../../../plugin/reply/options.ts'
import { buildApp } from '../../support/apps/app.ts'

t.test('an option is taken from the nearest level that sets it', async t => {
  const app = await buildApp(t, { retryMs: 1, errorEvent: 'plugin' })
  const source = (): string[] => ['a']
  app.get('/plugin', (request, reply) => reply.sse(source()))
  app.get('/config', { config: { sse: { retryMs: 2 } } }, (request, reply) => reply.sse(source()))
  app.get('/route', { sse: { retryMs: 3 } }, (request, reply) => reply.sse(source()))
  app.get('/call', { sse: { retryMs: 3 } }, (request, reply) => reply.sse(source(), { retryMs: 4 }))
  app.get('/off', { sse: { retryMs: 3 } }, (request, reply) => reply.sse(source(), { retryMs: false }))
  app.get(
    '/undefined',
    { sse: { retryMs: 3 } },
    (request, reply) => reply.sse(source(), { retryMs: undefined } as unknown as SseOptions)
  )
  const cases: [string, number | undefined][] = [
    ['/plugin', 1], ['/config', 2], ['/route', 3], ['/call', 4], ['/off', undefined], ['/undefined', 3]
  ]
  for (const [url, retryMs] of cases) {
    const stream = await injectSse(app, url)
    t.equal((await stream.end()).length, 1)
    t.equal(stream.retryMs, retryMs, url)
  }
})

// An option that comes from elsewhere, as in `{ retryMs: config.retryMs }`, may be present and undefined.
t.test('an explicit undefined is "not given" for every option, at the plugin, the route and the call', async t => {
  const nothing = Object.fromEntries(Object.keys(checks).map(name => [name, undefined])) as SseOptions
  const app = await buildApp(
    t,
    { ...nothing, drainMs: undefined, answersWhileClosing: undefined } as unknown as SsePluginOptions
  )
  const set = await buildApp(t, { retryMs: 1, final: true })
  for (const [instance, expected] of [[app, [3_000, ['a']]], [set, [1, ['a', '{"reason":"done"}']]]] as const) {
    instance.get(
      '/config',
      { config: { sse: { ...nothing, events: undefined } as unknown as SseRouteOptions } },
      (request, reply) => reply.sse(['a'], nothing)
    )
    instance.get('/route', { sse: nothing }, (request, reply) => reply.sse(['a'], undefined))
    instance.get('/none', { sse: undefined } as object, (request, reply) => reply.sse(['a'], {}))
    for (const url of ['/config', '/route', '/none']) {
      const stream = await injectSse(instance, url)
      const events = await stream.end()
      t.same([stream.retryMs, events.map(({ data }) => data)], expected, url)
    }
  }
})

const MAX_TIMER = 2_147_483_647
// [option, rejected values, accepted values]
const values: Record<keyof SseOptions, [unknown[], unknown[]]> = {
  heartbeatMs: [[-1, 9, 1.5, MAX_TIMER + 1, '15', null, NaN], [0, 10, MAX_TIMER]],
  retryMs: [[true, -1, 3_600_001, 1.5, '1', null], [false, 0, 3_600_000]],
  maxBufferedBytes: [[0, 1023, 1.5, Infinity, '1024', null], [1024, Number.MAX_SAFE_INTEGER]],
  highWaterMarkBytes: [[0, 1.5, '1', null, 1024 * 1024 + 1], [1, 1024 * 1024]],
  slowClient: [['wait', '', null, true], ['close', 'drop']],
  maxLifetimeMs: [[-1, 1.5, MAX_TIMER + 1, '1', null], [0, MAX_TIMER]],
  lifetimeJitter: [[-0.1, 1.1, NaN, '0', null], [0, 0.5, 1]],
  serializer: [['json', null, {}], [String]],
  final: [['yes', 1, null], [true, false]],
  negotiate: [[0, 'yes', null], [true, false]],
  gzipMinBytes: [[true, -1, 0, 1.5, '1024', Infinity], [false, 1, 1024]],
  errorEvent: [[true, '', 'open', 'error', 'a\nb', null, 5], [false, 'oops']],
  onError: [[null, 'x', {}], [() => {}]],
  onClose: [[null, 'x', {}], [() => {}]]
}

t.test('an invalid value fails the registration, the route or the call, naming option, range and value', async t => {
  t.same(Object.keys(values).sort(), Object.keys(checks).sort(), 'every option is listed')
  for (const [name, [bad, good]] of Object.entries(values)) {
    for (const value of bad) {
      const given = { [name]: value } as SseOptions
      const error = (level: string) => ({
        code: 'FST_SSE_BAD_OPTION', statusCode: 500, message: new RegExp(`^${level}: option "${name}" must be .+, saw `)
      })
      await t.rejects(async () => {
        await Fastify().register(sse, given)
      }, error('plugin'), `plugin ${name}: ${String(value)}`)
      const app = await buildApp(t)
      t.throws(() => app.get('/a', { sse: given }, () => {}), error('route GET /a'))
      t.throws(() => app.get('/b', { config: { sse: given } }, () => {}), error('route GET /b'))
      app.get('/c', (request, reply) => reply.sse('a', given))
      t.match((await app.inject('/c')).json(), error('call'))
    }
    for (const value of good) {
      const app = await buildApp(t, { [name]: value })
      app.get('/', { sse: { [name]: value } }, (request, reply) => reply.sse('a', { [name]: value }))
      t.equal((await app.inject('/')).statusCode, 200, `${name}: ${String(value)}`)
    }
  }
})

t.test('unknown options, and values that are not an object, are rejected', async t => {
  await t.rejects(async () => { await Fastify().register(sse, { heartBeatMs: 1 } as SsePluginOptions) },
    {
      code: 'FST_SSE_BAD_OPTION',
      message: /^plugin: option "heartBeatMs" must be one of heartbeatMs, .*, saw an unknown option: did you mean "heartbeatMs"\?$/
    })
  await t.rejects(async () => {
    await Fastify().register(sse, { toString: 1 } as unknown as SsePluginOptions)
  }, { message: /option "toString" must be one of/ })
  await t.rejects(async () => {
    await Fastify().register(sse, { events: {} } as SsePluginOptions)
  }, { message: /option "events" must be one of/ })
  for (const drainMs of [-1, 1.5, MAX_TIMER + 1, null]) {
    await t.rejects(async () => {
      await Fastify().register(sse, { drainMs } as SsePluginOptions)
    }, { message: /plugin: option "drainMs" must be an integer from 0 to 2147483647 \(ms\), saw/ })
  }
  const app = await buildApp(t)
  for (const given of [null, [], 'x', 5]) {
    t.throws(() => app.get('/a', { sse: given as SseRouteOptions }, () => {}), {
      message: /route GET \/a: option "sse" must be an object, saw/
    })
    const each = await buildApp(t)
    each.get('/', (request, reply) => reply.sse('a', given as SseOptions))
    t.match((await each.inject('/')).json(), { message: /call: option "options" must be an object, saw/ })
  }
  t.throws(() => app.get('/b', { sse: {}, config: { sse: {} } }, () => {}), {
    message: /route \/b: option "sse" must be given once, saw both "sse" and "config.sse"/
  })
  for (const events of [null, [], { a: 1 }, { 'a\nb': {} }, { error: {} }]) {
    t.throws(() => app.get('/c', { sse: { events } as SseRouteOptions }, () => {}), {
      message: /option "events" must be an object of JSON schemas by event name/
    })
  }
})

t.test('a mark above the limit is rejected, and a lower limit alone also lowers the mark', async t => {
  await t.rejects(async () => { await Fastify().register(sse, { highWaterMarkBytes: 2049, maxBufferedBytes: 2048 }) },
    { message: /option "highWaterMarkBytes" must be at most maxBufferedBytes \(2048\), saw 2049/ })
  const app = await buildApp(t, { maxBufferedBytes: 2048 })
  app.get('/', (request, reply) => reply.sse(stream => {
    stream.push({ data: 'x'.repeat(2000) })
    t.equal(stream.isFull, false)
    stream.push({ data: 'x'.repeat(100) })
    t.equal(stream.isFull, true)
    stream.end()
  }))
  t.equal((await (await injectSse(app, '/')).end()).length, 2)
})

// Regression: options on a route that the plugin's onRoute hook never saw silently lost their event schemas.
t.test('options on a route added before the plugin are rejected when the route is called', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/given', { config: { sse: { retryMs: 1 } } }, (request, reply) => reply.sse('a'))
  app.get('/', (request, reply) => reply.sse('a'))
  await app.after()
  await app.register(sse)
  t.match((await app.inject('/given')).json(), {
    code: 'FST_SSE_BAD_OPTION', message: /route \/given: option "sse" must be given on a route added after this plugin/
  })
  t.equal((await app.inject('/')).statusCode, 200)
})

t.test('events are serialized by the JSON schema of their name, with $ref to a shared one', async t => {
  const app = await buildApp(t)
  app.get('/', {
    sse: {
      events: {
        tick: { $ref: 'tick#' },
        message: { type: 'object', properties: { a: { type: 'string' } } }
      }
    }
  }, (request, reply) => reply.sse([
    { event: 'tick', data: { n: '5', secret: 1 } },
    { data: { a: 1, b: 2 } },
    { event: 'message', data: { a: 2 } },
    { event: '', data: { a: 3 } },
    { event: 'other', data: { b: 2 } }
  ]))
  // Added after the route, because a $ref is resolved when the instance is ready.
  app.addSchema({ $id: 'tick', type: 'object', properties: { n: { type: 'integer' } } })
  const events = await (await injectSse(app, '/')).end()
  t.same(events.map(({ data }) => data), ['{"n":5}', '{"a":"1"}', '{"a":"2"}', '{"a":"3"}', '{"b":2}'])
})

t.test('event schemas are compiled by the serializer compiler of the route, or else of the instance', async t => {
  const compilerOf = (name: string) => ({ schema, httpStatus }: { schema: unknown, httpStatus?: string }) =>
    () => `${name} ${JSON.stringify(schema)} ${httpStatus}`
  const app = await buildApp(t)
  app.setSerializerCompiler(compilerOf('instance'))
  const options = { sse: { events: { message: { type: 'null' } } } }
  app.get('/instance', options, (request, reply) => reply.sse('a'))
  app.get('/route', { ...options, serializerCompiler: compilerOf('route') }, (request, reply) => reply.sse('a'))
  for (const name of ['instance', 'route']) {
    const [event] = await (await injectSse(app, `/${name}`)).end()
    t.equal(event?.data, `${name} {"type":"null"} 200`)
  }
})

t.test('a schema that is invalid, or refers to a missing one, fails ready()', async t => {
  for (const schema of [{ type: 'nonsense' }, { $ref: 'missing#' }]) {
    const app = await buildApp(t)
    app.get('/', { sse: { events: { message: schema as FastifySchema } } }, (request, reply) => reply.sse('a'))
    await t.rejects(async () => { await app.ready() })
  }
})

t.test('the serializer of the nearest level turns data into text', async t => {
  const app = await buildApp(t, { serializer: data => `plugin ${JSON.stringify(data)}` })
  app.get('/', (request, reply) => reply.sse([{ data: 'a' }, { data: Buffer.from('bytes') }]))
  app.get('/call', (request, reply) => reply.sse([1n], { serializer: data => `call ${String(data)}` }))
  const texts = async (url: string): Promise<string[]> =>
    (await (await injectSse(app, url)).end()).map(({ data }) => data)
  t.same(await texts('/'), ['plugin "a"', 'bytes'])
  t.same(await texts('/call'), ['call 1'])
})

t.test('an unknown option of a call is an error that lists the options of calls', async t => {
  const app = await buildApp(t, {})
  // @ts-expect-error: an unknown option
  app.get('/call', (request, reply) => reply.sse('a', { unknown: 1 }))
  const { code, message } = (await app.inject('/call')).json() as { code: string, message: string }
  t.equal(code, 'FST_SSE_BAD_OPTION')
  t.match(message, /heartbeatMs/)
  t.notMatch(message, /drainMs|events/, 'the options of registrations and routes')
})
