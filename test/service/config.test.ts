import t from 'tap'
import { ConfigError, flagOf, readConfig, variables } from '../../service/config.ts'
import { parseDuration } from '../../service/duration.ts'

type Env = Record<string, string | undefined>

/** What is told about a configuration; empty for a good one. */
function problemsOf (env: Env, argv: string[] = []): readonly string[] {
  try {
    readConfig(env, argv)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

t.test('without variables it listens on loopback, keeps events on disk, and has the defaults', async t => {
  t.same(readConfig({}), {
    host: '127.0.0.1',
    port: 8080,
    log: 'lmdb',
    dataDir: 'data',
    durability: 'disk',
    redisUrl: undefined,
    logLevel: 'info',
    maxEvents: 10_000,
    maxAgeMs: 0,
    expireAfterMs: 7 * 24 * 3_600_000,
    heartbeatMs: 15_000,
    drainMs: 5_000,
    isOpenToAll: false
  })
})

t.test('an empty variable is one that is not set', async t => {
  const empty = Object.fromEntries(Object.keys(variables).map(name => [name, '']))
  t.same(readConfig(empty), readConfig({}))
})

t.test('every variable is read into its place', async t => {
  t.same(readConfig({
    HOST: '::',
    PORT: '0',
    LOG: 'redis',
    DATA_DIR: '/srv/events',
    DURABILITY: 'process',
    REDIS_URL: 'rediss://user:secret@redis.example:6380/3',
    LOG_LEVEL: 'silent',
    MAX_EVENTS: '1',
    MAX_AGE: '30s',
    EXPIRE_AFTER: '0',
    HEARTBEAT_MS: '10',
    DRAIN_MS: '2147483647',
    OPEN_TO_ALL: 'yes'
  }), {
    host: '::',
    port: 0,
    log: 'redis',
    dataDir: '/srv/events',
    durability: 'process',
    redisUrl: 'rediss://user:secret@redis.example:6380/3',
    logLevel: 'silent',
    maxEvents: 1,
    maxAgeMs: 30_000,
    expireAfterMs: 0,
    heartbeatMs: 10,
    drainMs: 2_147_483_647,
    isOpenToAll: true
  })
})

t.test('variables that are not ours are left alone', async t => {
  t.same(readConfig({ PATH: '/usr/bin', TOKEN: 'x' }), readConfig({}))
})

/** Values just outside each range, and what looks like a value and is none. A folder may have any name. */
const BAD: Partial<Record<keyof typeof variables, string[]>> = {
  HOST: ['example.com', '127.0.0', '256.0.0.1', ' ', '[::1]', 'LOCALHOST'],
  PORT: ['-1', '65536', '80.5', '0x50', '8080 ', 'http', '1e3'],
  LOG: ['disk', 'Redis', 'memory '],
  DURABILITY: ['fsync', 'DISK'],
  REDIS_URL: ['localhost:6379', 'http://localhost:6379', 'redis', '127.0.0.1'],
  LOG_LEVEL: ['verbose', 'INFO', '30'],
  MAX_EVENTS: ['0', '100000001', '10_000', '-5'],
  MAX_AGE: ['-1', '10', '10w', '1.5h', '1d1h', 'never', '367d', '999999999d'],
  EXPIRE_AFTER: ['7', 'd', '00', '1 d'],
  HEARTBEAT_MS: ['9', '2147483648', '0', '15s'],
  DRAIN_MS: ['-1', '2147483648', '5s'],
  OPEN_TO_ALL: ['true', '1', 'YES', 'no ']
}

t.test('a bad value of any variable is told with its name, the allowed range and the value seen', async t => {
  t.same([...Object.keys(BAD), 'DATA_DIR'].sort(), Object.keys(variables).sort())
  for (const [name, values] of Object.entries(BAD)) {
    for (const value of values) {
      const { allowed } = variables[name as keyof typeof variables]
      t.same(problemsOf({ [name]: value }), [`${name} must be ${allowed}, saw ${JSON.stringify(value)}`])
    }
  }
})

t.test('both ends of every range are allowed', async t => {
  const good: Env[] = [
    { PORT: '65535', MAX_EVENTS: '100000000', HEARTBEAT_MS: '2147483647', DRAIN_MS: '0' },
    { HOST: 'localhost' }, { HOST: '::1' }, { MAX_AGE: '366d', EXPIRE_AFTER: '1ms' }
  ]
  for (const env of good) t.same(problemsOf(env), [], JSON.stringify(env))
})

t.test('all problems are told at once, and the message is a list of them', async t => {
  const env = { PORT: 'x', LOG_LEVEL: 'loud', LOG: 'redis', HOST: '0.0.0.0', DRAIN_MS: '1s' }
  const problems = problemsOf(env)
  t.equal(problems.length, 5)
  for (const name of Object.keys(env)) t.ok(problems.some(problem => problem.startsWith(name)), name)
  t.throws(() => readConfig(env), { message: `the configuration is not valid:\n${problems.map(problem => `  - ${problem}`).join('\n')}` })
})

t.test('the log is Redis when there is a URL of one, else LMDB', async t => {
  t.equal(readConfig({}).log, 'lmdb')
  t.match(readConfig({ REDIS_URL: 'redis://127.0.0.1' }), { log: 'redis', redisUrl: 'redis://127.0.0.1' })
  t.equal(readConfig({ REDIS_URL: 'redis://127.0.0.1', LOG: 'redis' }).log, 'redis')
  t.equal(readConfig({ LOG: 'memory' }).log, 'memory')
})

t.test('a Redis URL beside a log that does not use it is a contradiction', async t => {
  for (const LOG of ['lmdb', 'memory']) {
    t.same(problemsOf({ LOG, REDIS_URL: 'redis://127.0.0.1' }), [`REDIS_URL is set, but LOG=${LOG} does not use it: leave one of them out`])
  }
})

t.test('the Redis log without a URL is a contradiction', async t => {
  t.same(problemsOf({ LOG: 'redis' }), ['LOG=redis needs REDIS_URL, such as redis://127.0.0.1:6379'])
})

// A second problem that is none would send its reader after it.
t.test('a bad value is not told a second time as a contradiction', async t => {
  t.equal(problemsOf({ LOG: 'redis', REDIS_URL: 'localhost' }).length, 1)
  t.equal(problemsOf({ LOG: 'lmdb', REDIS_URL: 'localhost' }).length, 1)
  t.equal(problemsOf({ LOG: 'none', REDIS_URL: 'redis://127.0.0.1' }).length, 1)
  t.equal(problemsOf({ HOST: '0.0.0.0', OPEN_TO_ALL: 'true' }).length, 1)
})

t.test('every variable is a flag too, with its value behind a blank or an equals sign, and the flag wins', async t => {
  t.match(readConfig({}, ['--port', '81', '--max-events=7', '--log=memory', '--open-to-all', 'yes']), { port: 81, maxEvents: 7, log: 'memory', isOpenToAll: true })
  t.equal(readConfig({ PORT: '80' }, ['--port', '81']).port, 81)
  t.equal(readConfig({ PORT: 'eighty' }, ['--port', '81']).port, 81, 'what is overruled is not looked at')
  t.match(readConfig({}, ['--redis-url', 'redis://127.0.0.1']), { log: 'redis' })
  t.match(readConfig({ REDIS_URL: 'redis://127.0.0.1' }, ['--log', 'redis']), { log: 'redis' })
  const empty = Object.keys(variables).map(name => `--${flagOf(name)}=`)
  t.equal(problemsOf({}, empty).length, empty.length, 'a flag without a value is a slip, unlike an empty variable')
})

t.test('a bad value of a flag is told with the flag, among all other problems, in the order of the table', async t => {
  t.same(problemsOf({ PORT: 'x', DRAIN_MS: 'y' }, ['--port=z', '--redis-url=http://user:secret@host', '--log', 'lmdb']), [
    `--port must be ${variables.PORT.allowed}, saw "z"`,
    `--redis-url must be ${variables.REDIS_URL.allowed}, saw "http://***@host"`,
    `DRAIN_MS must be ${variables.DRAIN_MS.allowed}, saw "y"`
  ])
})

t.test('what is no flag is told first, with the flag that was perhaps meant, and is known as a mistake of the command line', async t => {
  const error = t.throws(() => readConfig({ PORT: 'x' }, ['--max-event', '7', '--zzzzzzzz'])) as unknown as ConfigError
  t.same(error.problems, [
    'there is no flag --max-event, did you mean --max-events?',
    'there is no flag --zzzzzzzz',
    'nothing is known of "7"',
    `PORT must be ${variables.PORT.allowed}, saw "x"`
  ])
  t.equal(error.isUsage, true)
  t.match(t.throws(() => readConfig({}, ['--port', 'x'])), { isUsage: false })
})

t.test('a password in a bad URL of Redis is not told', async t => {
  for (const REDIS_URL of ['http://user:secret@host', 'redis:/user:secret@host:port', 'user:secret@host:6379']) {
    t.notMatch(problemsOf({ REDIS_URL }).join(), /secret/)
  }
})

t.test('an address beyond loopback needs OPEN_TO_ALL=yes', async t => {
  for (const HOST of ['0.0.0.0', '::', '192.168.1.7', '127.0.0.2']) {
    t.match(problemsOf({ HOST }), [`HOST "${HOST}" is reachable from other machines`])
    t.match(problemsOf({ HOST, OPEN_TO_ALL: 'no' }), [/set OPEN_TO_ALL=yes/])
    t.equal(readConfig({ HOST, OPEN_TO_ALL: 'yes' }).host, HOST)
  }
  for (const HOST of ['127.0.0.1', '::1', 'localhost']) t.equal(readConfig({ HOST }).host, HOST)
})

t.test('a duration is a whole number with one unit', async t => {
  const good = { '0ms': 0, '500ms': 500, '10s': 10_000, '10m': 600_000, '2h': 7_200_000, '1d': 86_400_000, '007s': 7_000 }
  for (const [text, ms] of Object.entries(good)) t.equal(parseDuration(text), ms, text)
  for (const text of ['', '10', 's', '-1s', '+1s', '1.5s', '1 s', ' 1s', '1s ', '1S', '1sec', '1w', '1h30m', '1e3s', '1000000000s', '1s\n']) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  }
})
