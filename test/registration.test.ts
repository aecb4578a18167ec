import { readFile } from 'node:fs/promises'
import { mock } from 'node:test'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../plugin/index.ts'
import { auth } from '../plugin/auth/index.ts'
import topics, { MemoryLog } from '../plugin/topics/index.ts'
import { buildApp } from './support/apps/app.ts'

// Regression: registering a plugin twice started a second log and a second timer, which nothing stopped.

t.test('a second registration of the topics fails without starting its log', async t => {
  const app = await buildApp(t)
  const calls: string[] = []
  class Log extends MemoryLog {
    override async start (): Promise<void> { calls.push('start') }
    override async stop (): Promise<void> { calls.push('stop') }
  }
  await app.register(topics, { log: new Log() })
  await t.rejects(async () => app.register(topics, { log: new Log() }), { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
  await app.close().catch(() => {})
  t.same(calls, ['start', 'stop'])
})

t.test('a log that cannot start is stopped when the app closes', async t => {
  const app = await buildApp(t)
  const calls: string[] = []
  class Log extends MemoryLog {
    override async start (): Promise<void> { throw new Error('half started') }
    override async stop (): Promise<void> { calls.push('stop') }
  }
  await t.rejects(async () => app.register(topics, { log: new Log() }), { message: 'half started' })
  await app.close().catch(() => {})
  t.same(calls, ['stop'])
})

t.test('a second registration of auth fails without starting its timer', async t => {
  const { mock: timers } = mock.method(globalThis, 'setInterval')
  t.teardown(() => mock.restoreAll())
  const started = () => timers.calls.filter(({ arguments: [, ms] }) => ms === 12_345).length
  const app = await buildApp(t)
  const options = { cookie: { name: 'session', verify: async () => null }, recheckMs: 12_345 }
  await app.register(auth, options)
  await t.rejects(async () => app.register(auth, options), { code: /^FST_ERR_DEC/ })
  t.equal(started(), 1)
})

// Regression: the plugins accepted Fastify 5.0, with which they do not work.
t.test('the plugins accept the versions of Fastify that the package requires', async t => {
  const text = await readFile(new URL('../plugin/package.json', import.meta.url), 'utf8')
  const { peerDependencies } = JSON.parse(text) as { peerDependencies: { fastify: string } }
  for (const plugin of [sse, auth, topics]) {
    const { fastify } = (plugin as unknown as Record<symbol, { fastify: string }>)[Symbol.for('plugin-meta')]!
    t.equal(fastify, peerDependencies.fastify)
  }
})

// Regression: auth had no default export, so that neither `app.register(import('fastify-resumable-sse/auth'))` nor the
// same with `require` worked.
t.test('the module of each plugin can be registered itself', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(import('../plugin/index.ts'))
  await app.register(import('../plugin/topics/index.ts'), { log: new MemoryLog() })
  await app.register(import('../plugin/auth/index.ts'), { cookie: { name: 'session', verify: async () => null } })
  t.ok(['sse', 'topics', 'auth'].every(name => app.hasDecorator(name)))
})

// Regression: the start failed with "unknown option", although Fastify's types allow these options for every plugin.
t.test('options of app.register() itself are accepted', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const common = { prefix: '/api', logLevel: 'warn', logSerializers: {} } as const
  await app.register(sse, { ...common, drainMs: 500 })
  await app.register(topics, { ...common, log: new MemoryLog() })
  await app.register(auth, { ...common, cookie: { name: 'session', verify: async () => null } })
  t.ok(['sse', 'topics', 'auth'].every(name => app.hasDecorator(name)))
})
