import dns from 'node:dns'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { listen } from '../../service/cli/serve.ts'
import { buildService, readConfig } from '../../service/index.ts'
import { compilers } from '../../service/http/schemas/compilers.ts'
import { originIn, run } from '../support/processes/commands.ts'
import { call } from '../support/service/service-app.ts'

// What a start loads. Every package that a configuration does not need was a tenth of the start, and more.

/** Runs the built service until it is ready, and returns the packages it has loaded by then, and after `use`. */
async function loadedBy (
  t: Test,
  env: Record<string, string>,
  use: (origin: string) => Promise<unknown> = async () => {}
): Promise<Set<string>> {
  const folder = join(t.testdir(), 'loaded')
  mkdirSync(folder)
  // What Node writes for coverage names every file it has run; under tap, which has its own coverage, it omits most.
  const service = run(
    t, 'env', ['-u', 'NODE_OPTIONS', `NODE_V8_COVERAGE=${folder}`, process.execPath, 'service/dist/cli.js'],
    { PORT: '0', DATA_DIR: join(folder, '..'), ...env }
  )
  await service.until(({ err }) => err.includes('resumable-sse listens on '))
  const origin = originIn(service.err)
  t.equal((await call(`${origin}/readyz`)).status, 200)
  await use(origin)
  await service.stop()
  const text = readdirSync(folder).map(file => readFileSync(join(folder, file), 'utf8')).join()
  return new Set([...text.matchAll(/"file:[^"]*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(([, name]) => name!))
}

const OPTIONAL = [
  '@fastify/fast-json-stringify-compiler', 'ajv', 'eventsource-parser', 'ioredis', 'jose', 'lmdb'
] as const

t.test('a start loads what its configuration needs, and the schema compiler only with the first request to a topic', async t => {
  const packages = (loaded: Set<string>): string[] => OPTIONAL.filter(name => loaded.has(name))
  t.same(packages(await loadedBy(t, { LOG: 'memory' })), [])
  const env = { LOG: 'lmdb', JWT_SECRET: 'a secret of the tests, long enough for HS256' }
  t.same(packages(await loadedBy(t, env)), ['jose', 'lmdb'])
  t.same(packages(await loadedBy(t, { LOG: 'memory' }, origin => call(`${origin}/topics/news`))), ['ajv'])
})

t.test('a route with a schema fails the start if there is no validator', async t => {
  const app = Fastify({ schemaController: { compilersFactory: compilers } })
  app.get('/', { schema: { querystring: { type: 'object' } } }, () => '')
  await t.rejects(async () => { await app.ready() }, { message: 'a route was added before validateBySchema()' })
})

// Regression: for a name with two addresses Fastify creates a second server, which had none of the limits and timeouts.
t.test('HOST=localhost listens on one address, however many the name has', async t => {
  const { lookup } = dns
  t.teardown(() => { dns.lookup = lookup })
  const addresses = [{ address: '127.0.0.1', family: 4 }, { address: '127.0.0.2', family: 4 }]
  const answer = (...args: unknown[]): void => {
    const done = args.at(-1) as (...results: unknown[]) => void
    if (args.length === 3 && (args[1] as { all?: boolean }).all) done(null, addresses)
    else done(null, args[0] === 'localhost' ? '127.0.0.1' : args[0], 4)
  }
  dns.lookup = answer as typeof lookup
  const config = readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', HOST: 'localhost', PORT: '0' })
  const app = await buildService(config)
  t.teardown(() => app.close())
  await listen(app, config)
  t.match(app.addresses(), [{ address: '127.0.0.1' }])
  t.equal(app.addresses().length, 1)
})
