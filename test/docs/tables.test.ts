import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../plugin/index.ts'
import { CONTROL_NAMES } from '../../plugin/client/events.ts'
import { OPTION_NAMES } from '../../plugin/client/options.ts'
import type { CloseReason } from '../../plugin/index.ts'
import { errors as authErrors } from '../../plugin/auth/errors.ts'
import { errors as pluginErrors } from '../../plugin/reply/errors.ts'
import { checks, DEFAULT_DRAIN_MS, defaults } from '../../plugin/reply/options.ts'
import { tokenChecks, tokenDefaults } from '../../plugin/auth/one-time/one-time-token-options.ts'
import { RedisTokenStore } from '../../plugin/auth/one-time/redis-token-store.ts'
import { ReplyStream } from '../../plugin/reply/stream/reply-stream.ts'
import { variables } from '../../service/config/config.ts'
import { errors as serviceErrors } from '../../service/errors.ts'
import { buildService, readConfig } from '../../service/index.ts'
import type { Variable } from '../../service/config/variable.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import type { GapReason } from '../../plugin/topics/index.ts'
import { errors as aiErrors } from '../../plugin/ai/errors.ts'
import { errors as topicsErrors } from '../../plugin/topics/errors.ts'
import { RETENTION_DEFAULTS } from '../../plugin/topics/retention.ts'
import { readDoc, ROOT, tableRows } from '../support/documents/markdown.ts'
import { withFigures } from '../../scripts/readme-figures.js'
import { SECRET } from '../support/auth/tokens.ts'

// Each table must match the code: changing one without the other fails here.

const namesIn = (rows: string[][]): string[] => rows.map(row => row[0] ?? '')
const sorted = (names: Iterable<string>): string[] => [...names].sort()

/** The allowed range of an option, according to the error for a bad value. */
async function rangeTold (register: () => PromiseLike<unknown>): Promise<string> {
  const error = await Promise.resolve(register()).then(() => undefined, (error: unknown) => error)
  return /must be (.*), saw/.exec(error instanceof Error ? error.message : '')?.[1] ?? `no range in ${String(error)}`
}

t.test('docs/plugin.md lists the options of a stream with their defaults and ranges', async t => {
  const rows = tableRows('docs/plugin.md', 'Option').filter(
    ([name]) => !['drainMs', 'answersWhileClosing', 'events'].includes(name!)
  )
  t.same(namesIn(rows), Object.keys(checks))
  for (const [name = '', shownDefault, allowed] of rows) {
    const value = defaults[name as keyof typeof defaults]
    t.equal(allowed, checks[name as keyof typeof checks].range, name)
    if (typeof value !== 'function') t.equal(shownDefault, value === undefined ? 'none' : JSON.stringify(value), name)
  }
})

t.test('docs/plugin.md lists the options of registration and of routes with their defaults and ranges', async t => {
  const [drain, answers, events, ...others] = tableRows('docs/plugin.md', 'Option').filter(
    ([name = '']) => !Object.hasOwn(checks, name)
  )
  t.same(others, [])
  t.equal(drain?.[1], String(DEFAULT_DRAIN_MS))
  t.equal(drain?.[2], await rangeTold(() => Fastify().register(sse, { drainMs: -1 })))
  t.same(answers?.slice(0, 3), [
    'answersWhileClosing', 'false', await rangeTold(() => Fastify().register(sse, { answersWhileClosing: 1 } as object))
  ])
  t.equal(events?.[0], 'events')
  t.equal(events?.[2], await rangeTold(async () => {
    const app = Fastify()
    await app.register(sse)
    // @ts-expect-error: not an object
    app.get('/', { sse: { events: 1 } }, () => '')
  }))
})

t.test('docs/client.md lists the options and the events of a subscription', async t => {
  t.same(namesIn(tableRows('docs/client.md', 'Option')), OPTION_NAMES)
  t.same(namesIn(tableRows('docs/client.md', 'Event')), CONTROL_NAMES)
})

t.test('docs/configuration.md lists the variables of the service: a row of its table for each of the code\'s, cell by cell', async t => {
  const told = Object.entries<Variable>(variables).map(([name, { default: value = 'none', allowed, meaning }]) => [
    name, value, allowed, meaning.replaceAll('](docs/', '](')
  ])
  t.same(tableRows('docs/configuration.md', 'Variable'), told)
})

t.test('docs/configuration.md lists the logs that LOG accepts', async t => {
  const logs = namesIn(tableRows('docs/configuration.md', 'Value of `LOG`'))
  t.same(logs.map(log => variables.LOG.read(log)), logs)
  t.equal(logs.length, variables.LOG.allowed.match(/"/g)!.length / 2)
})

/** Files that only the console page requests. */
const PARTS_OF_THE_CONSOLE = /^\/(?:$|favicon\.ico$|console\/)/

t.test('docs/http.md lists the calls of the service', async t => {
  // With credentials, which add routes of their own.
  const app = await buildService(readConfig({ LOG_LEVEL: 'silent', LOG: 'memory', JWT_SECRET: SECRET }))
  t.teardown(() => app.close())
  const shown = new Map<string, Set<string>>()
  for (const call of namesIn(tableRows('docs/http.md', 'Call'))) {
    const [method = '', path = ''] = call.split(' ')
    shown.set(path, (shown.get(path) ?? new Set()).add(method))
  }
  for (const [path, methods] of shown) {
    const { headers } = await app.inject({ method: 'OPTIONS', url: path.replace(':topic', 'news') })
    t.same(
      sorted(methods),
      sorted(String(headers.allow).split(', ').filter(method => method !== 'HEAD' && method !== 'OPTIONS')),
      path
    )
  }
  const paths = pathsOf(app.printRoutes({ commonPrefix: false })).filter(path => !PARTS_OF_THE_CONSOLE.test(path))
  t.same(sorted(shown.keys()), sorted(paths))
})

/** Complete paths from Fastify's route tree, which prints a child below its parent. */
function pathsOf (drawing: string): string[] {
  const parents: string[] = []
  return drawing.trim().split('\n').map(line => {
    const { indent = '', part = '' } = /^(?<indent>[│ ]*)[├└]── (?<part>\S+)/.exec(line)?.groups ?? {}
    const depth = indent.length / 4
    parents[depth] = (depth > 0 ? parents[depth - 1] : '') + part
    return parents[depth]
  })
}

const errorTables = {
  'docs/plugin.md': { ...pluginErrors, ...authErrors },
  'docs/topics.md': topicsErrors,
  'docs/ai.md': aiErrors,
  'docs/protocol.md': serviceErrors
}
for (const [file, errors] of Object.entries(errorTables)) {
  t.test(`${file} lists every error code with its status`, async t => {
    const rows = tableRows(file, 'Code').map(([code, status]) => `${code} ${status}`)
    t.same(rows, Object.entries(errors).map(([code, Class]) => `${code} ${new Class().statusCode}`))
  })
}

t.test('docs/plugin.md lists every close reason', async t => {
  const reasons = {
    end: 0, client: 0, slow: 0, shutdown: 0, error: 0, lifetime: 0, expired: 0, revoked: 0, replaced: 0
  } satisfies Record<CloseReason, 0>
  sameNames(t, tableRows('docs/plugin.md', 'Reason'), reasons)
})

t.test('docs/protocol.md lists every reason of a gap', async t => {
  const reasons = { trimmed: 0, fork: 0, unknown: 0, expired: 0 } satisfies Record<GapReason, 0>
  sameNames(t, tableRows('docs/protocol.md', 'Reason'), reasons)
})

function sameNames (t: Test, rows: string[][], names: object): void {
  t.same(sorted(namesIn(rows)), sorted(Object.keys(names)))
}

t.test('docs/plugin.md lists every member of a stream', async t => {
  // Only for the code that creates the stream, and for the heartbeat timer.
  const inner = new Set(['constructor', 'attach', 'listen', 'tick'])
  const members = Object.getOwnPropertyNames(ReplyStream.prototype).filter(name => !inner.has(name))
  const shown = namesIn(tableRows('docs/plugin.md', 'Member')).map(name => name.replace(/\(.*/, ''))
  t.same(sorted(shown), sorted([...members, 'lastEventId']))
})

t.test('docs/plugin.md names the diagnostics channels of the source', async t => {
  const source = readFileSync(ROOT + 'plugin/reply/reply.ts', 'utf8')
  const channels = [...source.matchAll(/channel\('([^']+)'\)/g)].map(match => match[1])
  t.same(namesIn(tableRows('docs/plugin.md', 'Channel')), channels)
})

t.test('docs/topics.md lists the options of the topics', async t => {
  const rows = tableRows('docs/topics.md', 'Option').slice(0, 7)
  const log = new MemoryLog()
  // @ts-expect-error: an unknown option
  const told = await rangeTold(() => Fastify().register(topics, { log, unknown: 1 }))
  t.equal(`one of ${namesIn(rows).join(', ')}`, told)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(topics, { log })
  const [maxEventBytes, maxBatchEvents] = [rows[1]?.[1], rows[2]?.[1]]
  await t.rejects(app.topics.publish('a', { data: 'x'.repeat(Number(maxEventBytes)) }), {
    message: new RegExp(`at most ${maxEventBytes} bytes`)
  })
  await t.rejects(app.topics.publish('a', []), { message: new RegExp(`1 to ${maxBatchEvents} events`) })
  // Regression: the docs said that `last` went up to 100,000.
  const last = tableRows('docs/topics.md', 'Option').find(([name]) => name === 'last')
  t.match(last?.[2], `, ${await rangeTold(async () => app.topics.subscribe('a', { last: -1 }))}.`)
})

t.test('docs/topics.md lists the settings of retention with their defaults and ranges', async t => {
  const rows = tableRows('docs/topics.md', 'Setting')
  t.same(rows.map(([name, value]) => [name, Number(value)]), Object.entries(RETENTION_DEFAULTS))
  for (const [name = '', , allowed] of rows) {
    t.equal(allowed, await rangeTold(async () => new MemoryLog({ retention: [{ topics: '*', [name]: -1 }] })), name)
  }
})

t.test('docs/topics.md lists the options of the logs with their defaults and ranges', async t => {
  const rows = tableRows('docs/topics.md', 'Log option')
  const [, inSource = ''] = /const DEFAULTS = {(.*)}/.exec(readFileSync(
    ROOT + 'plugin/topics/log/redis/redis-log-options.ts',
    'utf8'
  )) ?? []
  const defaults = new Map([...inSource.matchAll(/(\w+): ([^,]+?)(?=,| $)/g)].map(([, name, value = '']) => [
    name, value.replaceAll("'", '"').replaceAll('_', '')
  ]))
  const connection = 'redis://127.0.0.1:6379'
  for (const [option = '', shownDefault, allowed] of rows) {
    const [log, name = ''] = option.split('.')
    t.equal(allowed, await rangeTold(async () => log === 'RedisLog'
      ? new RedisLog({ connection, [name]: -1 })
      : new LmdbLog({ folder: 'unused', [name]: -1 })), option)
    if (log === 'RedisLog' && name !== 'connection') t.equal(shownDefault, defaults.get(name), option)
  }
  // @ts-expect-error: an unknown option
  const told = await rangeTold(async () => new RedisLog({ connection, unknown: 1 }))
  const names = namesIn(rows).filter(name => name.startsWith('RedisLog')).map(name => name.replace('RedisLog.', ''))
  t.same(sorted([...names, 'retention']), sorted(told.replace('one of ', '').split(', ')))
})

t.test('docs/one-time-tokens.md lists the options of the tokens with their defaults and ranges', async t => {
  const rows = tableRows('docs/one-time-tokens.md', 'Token option').map(([name, value, allowed]) => [
    name, value, allowed
  ])
  const told = Object.entries(tokenChecks).map(([name, { range }]) => [
    name, name === 'store' ? 'none' : JSON.stringify(tokenDefaults[name as keyof typeof tokenDefaults]), range
  ])
  t.same(rows, told)
})

t.test('docs/one-time-tokens.md lists the options of the Redis store with their ranges', async t => {
  const rows = tableRows('docs/one-time-tokens.md', 'Store option')
  const connection = 'redis://127.0.0.1:1'
  for (const [name = '', , allowed] of rows) {
    t.equal(allowed, await rangeTold(async () => new RedisTokenStore({ connection, [name]: -1 })), name)
  }
  // @ts-expect-error: an unknown option
  const told = await rangeTold(async () => new RedisTokenStore({ connection, unknown: 1 }))
  t.equal(`one of ${namesIn(rows).join(', ')}`, told)
})

t.test('the figures in the README are those of docs/benchmarks.md', async t => {
  const readme = readDoc('README.md')
  t.equal(withFigures(readme, readDoc('docs/benchmarks.md')), readme)
  const figures = tableRows('README.md', 'Median').map(row => row.slice(1))
  t.equal(figures.length, 3)
  for (const [ours, floor] of figures) t.ok(Number(ours) > 0 && Number(floor) > 0, `${ours} and ${floor}`)
})
