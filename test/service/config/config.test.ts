import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { variables } from '../../../service/config/config.ts'
import { flagOf, readConfig } from '../../../service/config/read-config.ts'
import type { VariableName } from '../../../service/config/config.ts'
import { parseDuration } from '../../../service/config/duration.ts'
import type { ConfigError } from '../../../service/config/read-config.ts'
import { problemsOf } from '../../support/config.ts'
import type { Env } from '../../support/config.ts'
import { certificateFiles } from '../../support/network/http2-client.ts'
import { KEYS, SECRET } from '../../support/auth/tokens.ts'

const { cert, key } = certificateFiles(t)
const publicKey = join(t.testdir({ 'es256.pem': KEYS.ES256.pem }), 'es256.pem')

/** Networks that hold half of the Internet or more, as one and as parts. */
const EVERYBODY = [
  '0.0.0.0/0', '::/0', '0.0.0.0/1,128.0.0.0/1', '127.0.0.1/7', '::/1', '2000::/3', '::ffff:0:0/96', '::ffff:0.0.0.0/97',
  '10.0.0.1,0.0.0.0/00'
]

const REDIS_URLS = [
  'redis://127.0.0.1', 'redis://redis.example:6380/3', 'rediss://user:secret@redis.example:6380/',
  'redis://[::1]:6379/0', 'REDIS://h',
  'redis+sentinel://a,b:26380,[::1]:26379/main', 'rediss+sentinel://:p%40ss@a/main/2',
  'redis+cluster://a:7000,b:7001', 'rediss+cluster://u:p@a/0',
  'unix:///run/redis.sock', 'redis+unix://user:p@/run/redis%20here.sock?db=4'
]

/**
 * What each variable is without being set, values as they are written and read, and values just outside its range or
 * that only look like one.
 */
interface Case { unset: unknown, good: [string, unknown][], bad: string[], beside?: Env }

const CASES: Record<VariableName, Case> = {
  HOST: {
    unset: '127.0.0.1',
    good: [['::', '::'], ['localhost', 'localhost'], ['::1', '::1']],
    bad: ['example.com', '127.0.0', '256.0.0.1', ' ', '[::1]', 'LOCALHOST'],
    beside: { OPEN_TO_ALL: 'yes' }
  },
  PORT: {
    unset: 8080, good: [['0', 0], ['65535', 65_535]], bad: ['-1', '65536', '80.5', '0x50', '8080 ', 'http', '1e3']
  },
  LOG: { unset: 'lmdb', good: [['memory', 'memory'], ['lmdb', 'lmdb']], bad: ['disk', 'Redis', 'memory '] },
  DATA_DIR: { unset: 'data', good: [['/srv/events', '/srv/events'], ['any name', 'any name']], bad: [] },
  DURABILITY: { unset: 'disk', good: [['process', 'process']], bad: ['fsync', 'DISK'] },
  REDIS_URL: {
    unset: undefined,
    good: REDIS_URLS.map(url => [url, url]),
    bad: [
      'localhost:6379', 'http://localhost:6379', 'redis', '127.0.0.1', 'redis:/host', 'redis+sentinels://host/main',
      'sentinel://host/main'
    ]
  },
  REDIS_USERNAME: {
    unset: undefined, good: [['app', 'app']], bad: [], beside: { REDIS_URL: 'redis://h', REDIS_PASSWORD: 'p' }
  },
  REDIS_PASSWORD: {
    unset: undefined, good: [['p@ss:w/rd#?%&é', 'p@ss:w/rd#?%&é']], bad: [], beside: { REDIS_URL: 'redis://h' }
  },
  REDIS_SENTINEL_USERNAME: {
    unset: undefined, good: [['app', 'app']], bad: [], beside: { REDIS_URL: 'redis+sentinel://h/main' }
  },
  REDIS_SENTINEL_PASSWORD: {
    unset: undefined, good: [['p', 'p']], bad: [], beside: { REDIS_URL: 'redis+sentinel://h/main' }
  },
  REDIS_TLS_CA: {
    unset: undefined, good: [[cert, cert]], bad: ['/nowhere/ca.pem', '.'], beside: { REDIS_URL: 'rediss://h' }
  },
  REDIS_TLS_CERT: {
    unset: undefined,
    good: [[cert, cert]],
    bad: ['/nowhere/cert.pem', '.'],
    beside: { REDIS_URL: 'rediss+cluster://h', REDIS_TLS_KEY: key }
  },
  REDIS_TLS_KEY: {
    unset: undefined,
    good: [[key, key]],
    bad: ['/nowhere/key.pem', 'test'],
    beside: { REDIS_URL: 'rediss+sentinel://h/main', REDIS_TLS_CERT: cert }
  },
  PREFIX: {
    unset: 'sse:',
    good: [['staging:', 'staging:'], ['x'.repeat(100), 'x'.repeat(100)]],
    bad: ['a{b', 'a}', 'a b', ' ', 'x'.repeat(101)]
  },
  REPLICAS: { unset: 0, good: [['0', 0], ['100', 100]], bad: ['-1', '101', 'all'], beside: { REDIS_URL: 'redis://h' } },
  REPLICAS_TIMEOUT_MS: { unset: 1_000, good: [['1', 1], ['600000', 600_000]], bad: ['0', '600001', '1s'] },
  IDEMPOTENCY_WINDOW: {
    unset: 86_400_000, good: [['1ms', 1], ['366d', 366 * 86_400_000]], bad: ['0', '0ms', '1', '367d']
  },
  LOG_LEVEL: { unset: 'info', good: [['silent', 'silent'], ['trace', 'trace']], bad: ['verbose', 'INFO', '30'] },
  MAX_EVENTS: { unset: 10_000, good: [['1', 1], ['100000000', 100_000_000]], bad: ['0', '100000001', '10_000', '-5'] },
  MAX_AGE: {
    unset: 0,
    good: [['30s', 30_000], ['0', 0], ['366d', 366 * 86_400_000]],
    bad: ['-1', '10', '10w', '1.5h', '1d1h', 'never', '367d', '999999999d']
  },
  EXPIRE_AFTER: { unset: 7 * 86_400_000, good: [['0', 0], ['1ms', 1]], bad: ['7', 'd', '00', '1 d'] },
  RETENTION: {
    unset: undefined,
    good: [
      ['build/* MAX_EVENTS=100 MAX_AGE=1d', [{ topics: 'build/*', maxEvents: 100, maxAgeMs: 86_400_000 }]],
      [
        ' a EXPIRE_AFTER=0 ;\n\n* IDEMPOTENCY_WINDOW=1h;',
        [{ topics: 'a', expireAfterMs: 0 }, { topics: '*', idempotencyMs: 3_600_000 }]
      ]
    ],
    bad: []
  },
  MAX_EVENT_BYTES: { unset: 262_144, good: [['1', 1], ['16777216', 16_777_216]], bad: ['0', '16777217', '256k'] },
  MAX_BATCH_EVENTS: { unset: 10_000, good: [['1', 1], ['100000', 100_000]], bad: ['0', '100001'] },
  MAX_BODY_BYTES: {
    unset: 1_048_576, good: [['1024', 1_024], ['104857600', 104_857_600]], bad: ['1023', '104857601', '1MB']
  },
  MAX_BATCH_BYTES: {
    unset: 16_777_216, good: [['1024', 1_024], ['1073741824', 1_073_741_824]], bad: ['1023', '1073741825']
  },
  MAX_BODIES_BYTES: {
    unset: 134_217_728, good: [['1024', 1_024], ['68719476736', 68_719_476_736]], bad: ['1023', '68719476737', '128M']
  },
  PUBLISH_RATE: { unset: 0, good: [['0', 0], ['1000000', 1_000_000]], bad: ['-1', '1000001', '10/s'] },
  CORS_ORIGINS: {
    unset: undefined,
    good: [
      ['*', ['*']], ['https://app.example, http://localhost:3000', ['https://app.example', 'http://localhost:3000']]
    ],
    bad: ['app.example', 'https://App.example', 'https://app.example/', 'https://app.example,', '*,https://app.example', 'https://*.example', 'file:///x', 'null', 'https://app.example:443']
  },
  HEARTBEAT_MS: {
    unset: 15_000, good: [['10', 10], ['2147483647', 2_147_483_647]], bad: ['9', '2147483648', '0', '15s']
  },
  GZIP_MIN_BYTES: {
    unset: 1_024, good: [['0', 0], ['1073741824', 1_073_741_824]], bad: ['-1', '1073741825', '1k', 'false']
  },
  DRAIN_MS: { unset: 5_000, good: [['0', 0], ['2147483647', 2_147_483_647]], bad: ['-1', '2147483648', '5s'] },
  DRAIN_DELAY_MS: { unset: 0, good: [['1', 1], ['2147483647', 2_147_483_647]], bad: ['-1', '2147483648', '5s'] },
  CANARY_MS: { unset: 5_000, good: [['10', 10], ['600000', 600_000]], bad: ['9', '600001', '5s'] },
  MAX_STREAMS: { unset: 20_000, good: [['0', 0], ['1000000', 1_000_000]], bad: ['-1', '1000001', 'many'] },
  MAX_STREAMS_PER_ADDRESS: { unset: 1_000, good: [['1', 1], ['1000000', 1_000_000]], bad: ['-1', '1000001'] },
  MAX_STREAMS_PER_SUBJECT: { unset: 100, good: [['1', 1], ['1000000', 1_000_000]], bad: ['-1', '1000001'] },
  MAX_TOPICS: { unset: 100_000, good: [['1', 1], ['10000000', 10_000_000]], bad: ['0', '10000001'] },
  MAX_TOPICS_PER_STREAM: { unset: 44, good: [['1', 1]], bad: ['0', '45'] },
  TRUST_PROXY: {
    unset: undefined,
    good: [
      ['10.0.0.0/8, ::1,192.168.1.7', ['10.0.0.0/8', '::1', '192.168.1.7']],
      ['fc00::/7,::ffff:10.0.0.0/104', ['fc00::/7', '::ffff:10.0.0.0/104']]
    ],
    bad: [
      ...EVERYBODY, 'yes', '10.0.0.0/33', '::1/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.1,', 'example.com', '10.0.0.0/x'
    ]
  },
  CONSOLE: { unset: true, good: [['no', false], ['yes', true]], bad: ['on', 'true', ' '] },
  WORKERS: {
    unset: 1,
    good: [['256', 256], ['1', 1]],
    bad: ['0', '257', 'auto', '-1'],
    beside: { REDIS_URL: 'redis://127.0.0.1' }
  },
  TLS_CERT: { unset: undefined, good: [[cert, cert]], bad: ['/nowhere/cert.pem', '.'], beside: { TLS_KEY: key } },
  TLS_KEY: { unset: undefined, good: [[key, key]], bad: ['/nowhere/key.pem', 'test'], beside: { TLS_CERT: cert } },
  JWT_SECRET: { unset: undefined, good: [[SECRET, SECRET]], bad: ['too short', SECRET.slice(0, 31)] },
  JWT_SECRET_PREVIOUS: {
    unset: undefined, good: [[`${SECRET}-`, `${SECRET}-`]], bad: ['too short'], beside: { JWT_SECRET: SECRET }
  },
  JWT_PUBLIC_KEY: {
    unset: undefined,
    good: [[publicKey, publicKey]],
    bad: ['/nowhere/key.pem', 'test'],
    beside: { JWT_ALGORITHM: 'ES256' }
  },
  JWT_ALGORITHM: {
    unset: undefined,
    good: [['ES256', 'ES256']],
    bad: ['none', 'HS256', 'es256', 'ES256,RS256'],
    beside: { JWT_PUBLIC_KEY: publicKey }
  },
  JWKS_URL: {
    unset: undefined,
    good: [['https://id.example/keys', 'https://id.example/keys'], ['http://127.0.0.1:81/', 'http://127.0.0.1:81/']],
    bad: ['http://id.example/keys', 'id.example', 'file:///etc/keys']
  },
  JWT_ISSUER: {
    unset: undefined, good: [['https://id.example', 'https://id.example']], bad: [], beside: { JWT_SECRET: SECRET }
  },
  JWT_AUDIENCE: { unset: undefined, good: [['events', 'events']], bad: [], beside: { JWT_SECRET: SECRET } },
  JWT_PUBLISH_AUDIENCE: {
    unset: undefined, good: [['publish', 'publish']], bad: [], beside: { JWT_SECRET: SECRET, JWT_AUDIENCE: 'listen' }
  },
  JWT_CLAIM: { unset: 'topics', good: [['https://app.example/topics', 'https://app.example/topics']], bad: [] },
  COOKIE_NAME: {
    unset: undefined,
    good: [['__Host-session', '__Host-session']],
    bad: ['a b', 'a;b', 'a=b'],
    beside: { JWT_SECRET: SECRET }
  },
  PROXY_HEADER: {
    unset: undefined,
    good: [['X-User', 'X-User']],
    bad: ['x user', 'x:user', 'x\nuser'],
    beside: { PROXY_FROM: '127.0.0.1' }
  },
  PROXY_FROM: {
    unset: undefined,
    good: [['10.0.0.0/8, ::1', ['10.0.0.0/8', '::1']]],
    bad: [...EVERYBODY, '10.0.0.0/33', 'proxy.example', '10.0.0.1,', '10.0.0.0/8/8', '10.0.0.0/'],
    beside: { PROXY_HEADER: 'x-user' }
  },
  MAX_LIFETIME: {
    unset: undefined,
    good: [['1s', 1_000], ['8h', 28_800_000], ['24d', 2_073_600_000]],
    bad: ['0', '0s', '999ms', '25d', '3600', 'never', '-1h']
  },
  ALLOWED_HOSTS: {
    unset: undefined,
    good: [['events.example, [::1]:8080', ['events.example', '[::1]:8080']]],
    bad: ['https://events.example', '*.example', 'a b', 'a,']
  },
  OPEN_TO_ALL: { unset: false, good: [['yes', true], ['no', false]], bad: ['true', '1', 'YES', 'no '] }
}
const cases = Object.entries(CASES) as [VariableName, Case][]

t.test('without variables it listens on loopback, stores events on disk, and uses the defaults', async t => {
  t.same(readConfig({}), Object.fromEntries(cases.map(([name, { unset }]) => [variables[name].property, unset])))
})

t.test('every variable is read into its option', async t => {
  for (const [name, { good, beside }] of cases) {
    for (const [text, value] of good) {
      t.same(readConfig({ ...beside, [name]: text })[variables[name].property], value, `${name} ${text}`)
    }
  }
})

t.test('an empty variable counts as not set', async t => {
  const empty = Object.fromEntries(Object.keys(variables).map(name => [name, '']))
  t.same(readConfig(empty), readConfig({}))
})

t.test('variables of other programs are ignored', async t => {
  t.same(readConfig({ PATH: '/usr/bin', TOKEN: 'x' }), readConfig({}))
})

t.test('an invalid value of any variable is reported with its name, the allowed range and the value seen', async t => {
  for (const [name, { bad }] of cases) {
    // For a file the reason follows.
    for (const value of bad) {
      t.match(problemsOf({ [name]: value }), [
      `${name} must be ${variables[name].allowed}, saw ${JSON.stringify(name.startsWith('JWT_SECRET') ? '***' : value)}`
      ])
    }
  }
})

t.test('all problems are reported at once, as a list in the message', async t => {
  const env = { PORT: 'x', LOG_LEVEL: 'loud', LOG: 'redis', HOST: '0.0.0.0', DRAIN_MS: '1s' }
  const problems = problemsOf(env)
  t.equal(problems.length, 5)
  for (const name of Object.keys(env)) t.ok(problems.some(problem => problem.startsWith(name)), name)
  t.throws(() => readConfig(env), {
    message: `invalid configuration:\n${problems.map(problem => `  - ${problem}`).join('\n')}`
  })
})

t.test('the log is Redis if a Redis URL is set, otherwise LMDB', async t => {
  t.equal(readConfig({}).log, 'lmdb')
  t.match(readConfig({ REDIS_URL: 'redis://127.0.0.1' }), { log: 'redis', redisUrl: 'redis://127.0.0.1' })
  t.equal(readConfig({ REDIS_URL: 'redis://127.0.0.1', LOG: 'redis' }).log, 'redis')
  t.equal(readConfig({ LOG: 'memory' }).log, 'memory')
})

t.test('a Redis URL together with a log that does not use it is a contradiction', async t => {
  for (const LOG of ['lmdb', 'memory']) {
    t.same(problemsOf({ LOG, REDIS_URL: 'redis://127.0.0.1' }), [
      `REDIS_URL is set, but LOG=${LOG} does not use it: remove one of them`
    ])
  }
})

t.test('the Redis log without a URL is a contradiction', async t => {
  t.same(problemsOf({ LOG: 'redis' }), ['LOG=redis needs REDIS_URL, such as redis://127.0.0.1:6379'])
})

// A second problem that is none would send its reader after it.
t.test('an invalid value is not reported a second time as a contradiction', async t => {
  t.equal(problemsOf({ LOG: 'redis', REDIS_URL: 'localhost' }).length, 1)
  t.equal(problemsOf({ LOG: 'lmdb', REDIS_URL: 'localhost' }).length, 1)
  t.equal(problemsOf({ LOG: 'none', REDIS_URL: 'redis://127.0.0.1' }).length, 1)
  t.equal(problemsOf({ HOST: '0.0.0.0', OPEN_TO_ALL: 'true' }).length, 1)
})

t.test('every variable is also a flag, with its value after a space or an equals sign, and the flag has precedence', async t => {
  t.match(readConfig({}, ['--port', '81', '--max-events=7', '--log=memory', '--open-to-all', 'yes']), {
    port: 81, maxEvents: 7, log: 'memory', isOpenToAll: true
  })
  t.equal(readConfig({ PORT: '80' }, ['--port', '81']).port, 81)
  t.equal(readConfig({ PORT: 'eighty' }, ['--port', '81']).port, 81, 'an overridden value is not checked')
  t.match(readConfig({}, ['--redis-url', 'redis://127.0.0.1']), { log: 'redis' })
  t.match(readConfig({ REDIS_URL: 'redis://127.0.0.1' }, ['--log', 'redis']), { log: 'redis' })
  const empty = Object.keys(variables).map(name => `--${flagOf(name)}=`)
  t.equal(problemsOf({}, empty).length, empty.length, 'a flag without a value is a mistake, unlike an empty variable')
})

t.test('an invalid value of a flag is reported with the flag, among all other problems, in the order of the table', async t => {
  t.same(problemsOf({ PORT: 'x', DRAIN_MS: 'y' }, [
    '--port=z', '--redis-url=http://user:secret@host', '--log', 'lmdb'
  ]), [
    `--port must be ${variables.PORT.allowed}, saw "z"`,
    `--redis-url must be ${variables.REDIS_URL.allowed}, saw "http://***@host"`,
    `DRAIN_MS must be ${variables.DRAIN_MS.allowed}, saw "y"`
  ])
})

t.test('an unknown flag is reported first, with a suggestion, and counts as a mistake of the command line', async t => {
  const error = t.throws(() => readConfig({ PORT: 'x' }, ['--max-event', '7', '--zzzzzzzz'])) as unknown as ConfigError
  t.same(error.problems, [
    'unknown flag --max-event, did you mean --max-events?',
    'unknown flag --zzzzzzzz',
    'unknown argument "7"',
    `PORT must be ${variables.PORT.allowed}, saw "x"`
  ])
  t.equal(error.isUsage, true)
  t.match(t.throws(() => readConfig({}, ['--port', 'x'])), { isUsage: false })
})

t.test('a password in an invalid Redis URL is not shown', async t => {
  for (const REDIS_URL of ['http://user:secret@host', 'redis:/user:secret@host:port', 'user:secret@host:6379']) {
    t.notMatch(problemsOf({ REDIS_URL }).join(), /secret/)
  }
})

t.test('an address beyond loopback requires credentials, or OPEN_TO_ALL=yes', async t => {
  for (const HOST of ['0.0.0.0', '::', '192.168.1.7', '127.0.0.2']) {
    t.match(problemsOf({ HOST }), [`HOST "${HOST}" is reachable from other machines`])
    t.match(problemsOf({ HOST, OPEN_TO_ALL: 'no' }), [/set JWT_SECRET, .*, or OPEN_TO_ALL=yes/])
    t.equal(readConfig({ HOST, JWT_SECRET: SECRET }).host, HOST)
    t.equal(readConfig({ HOST, OPEN_TO_ALL: 'yes' }).host, HOST)
  }
  for (const HOST of ['127.0.0.1', '::1', 'localhost']) t.equal(readConfig({ HOST }).host, HOST)
})

t.test('more than one worker requires the Redis log', async t => {
  t.same(problemsOf({ WORKERS: '2' }), ['WORKERS=2 needs LOG=redis: LOG=lmdb supports one process only'])
  t.same(problemsOf({ LOG: 'memory' }, ['--workers', '3']), [
    'WORKERS=3 needs LOG=redis: LOG=memory supports one process only'
  ])
  t.same(problemsOf({ WORKERS: '2', REDIS_URL: 'redis://127.0.0.1' }), [])
  t.equal(problemsOf({ WORKERS: '2', LOG: 'redis' }).length, 1, 'only the URL is missing')
})

// With 0 the port was another one after all workers had ended at once.
t.test('more than one worker requires a fixed port', async t => {
  t.same(problemsOf({ WORKERS: '2', REDIS_URL: 'redis://127.0.0.1', PORT: '0' }), [
    'WORKERS=2 needs a PORT other than 0'
  ])
})

t.test('a certificate and its key must be set together, and must match', async t => {
  const [one, other] = [certificateFiles(t), certificateFiles(t)]
  t.same(problemsOf({ TLS_CERT: one.cert, TLS_KEY: one.key }), [])
  t.same(problemsOf({ TLS_CERT: one.cert }), ['TLS_CERT and TLS_KEY must be set together: set both or neither'])
  t.same(problemsOf({ TLS_KEY: one.key }), ['TLS_CERT and TLS_KEY must be set together: set both or neither'])
  t.match(problemsOf({ TLS_CERT: one.cert, TLS_KEY: other.key }), [
    /^TLS_CERT and TLS_KEY cannot be used: TLS_KEY is not the private key of the first certificate in TLS_CERT$/
  ])
  t.match(problemsOf({ TLS_CERT: one.key, TLS_KEY: one.key }), [
    /^TLS_CERT and TLS_KEY cannot be used: TLS_CERT contains no certificate in PEM format/
  ])
  t.match(problemsOf({ TLS_CERT: one.cert, TLS_KEY: one.cert }), [/TLS_KEY contains no private key in PEM format/])
  const encrypted = join(t.testdir(), 'encrypted.pem')
  execFileSync('openssl', [
    'ec', '-aes256', '-passout', 'pass:secret', '-in', one.key, '-out', encrypted
  ], { stdio: 'pipe' })
  t.match(problemsOf({ TLS_CERT: one.cert, TLS_KEY: encrypted }), [/TLS_KEY is encrypted: decrypt it/])
  writeFileSync(encrypted, '-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n')
  t.match(problemsOf({ TLS_CERT: one.cert, TLS_KEY: encrypted }), [/^TLS_CERT and TLS_KEY cannot be used: /])
})

t.test('the settings of credentials must be consistent', async t => {
  const pem = t.testdir({
    private: KEYS.ES256.privateKey.export({ type: 'pkcs8', format: 'pem' }), rsa: KEYS.RS256.pem, text: 'no key'
  })
  const needed: [Env, string][] = [
    [
      { JWT_SECRET: SECRET, JWKS_URL: 'https://id.example' },
      'JWT_SECRET, JWT_PUBLIC_KEY and JWKS_URL are mutually exclusive: set one of them'
    ],
    [{ JWT_SECRET_PREVIOUS: SECRET }, 'JWT_SECRET_PREVIOUS needs JWT_SECRET, the secret that replaces it'],
    [{ JWT_SECRET: SECRET, JWT_SECRET_PREVIOUS: SECRET }, 'JWT_SECRET_PREVIOUS is the same as JWT_SECRET: remove it'],
    [{ JWT_PUBLIC_KEY: publicKey }, 'JWT_PUBLIC_KEY and JWT_ALGORITHM must be set together: set both or neither'],
    [{ JWT_ALGORITHM: 'ES256' }, 'JWT_PUBLIC_KEY and JWT_ALGORITHM must be set together: set both or neither'],
    [
      { JWT_ALGORITHM: 'ES256', JWT_PUBLIC_KEY: join(pem, 'private') },
      'JWT_PUBLIC_KEY must hold a public key for ES256, saw a private key'
    ],
    [
      { JWT_ALGORITHM: 'ES256', JWT_PUBLIC_KEY: join(pem, 'rsa') },
      'JWT_PUBLIC_KEY must hold a public key for ES256, saw a public key of type rsa for ES256'
    ],
    [
      { JWT_ALGORITHM: 'ES256', JWT_PUBLIC_KEY: join(pem, 'text') },
      'JWT_PUBLIC_KEY must hold a public key for ES256, saw something that cannot be read as a key'
    ],
    [{ JWT_ISSUER: 'me' }, 'JWT_ISSUER applies to tokens only: also set JWT_SECRET, JWT_PUBLIC_KEY or JWKS_URL'],
    [
      { COOKIE_NAME: 'a', PROXY_HEADER: 'x-user', PROXY_FROM: '::1' },
      'COOKIE_NAME applies to tokens only: also set JWT_SECRET, JWT_PUBLIC_KEY or JWKS_URL'
    ],
    [
      { JWT_SECRET: SECRET, JWT_PUBLISH_AUDIENCE: 'a' },
      'JWT_PUBLISH_AUDIENCE needs JWT_AUDIENCE, the audience for listening'
    ],
    [{ PROXY_HEADER: 'x-user' }, 'PROXY_HEADER and PROXY_FROM must be set together: set both or neither'],
    [{ PROXY_FROM: '::1' }, 'PROXY_HEADER and PROXY_FROM must be set together: set both or neither'],
    [{ OPEN_TO_ALL: 'yes', JWT_SECRET: SECRET }, 'OPEN_TO_ALL=yes allows access without credentials, but JWT_SECRET, ' +
      'JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER requires them: remove one of them']
  ]
  for (const [env, problem] of needed) t.same(problemsOf(env), [problem])
})

t.test('a duration is a whole number with one unit', async t => {
  const good = {
    '0ms': 0, '500ms': 500, '10s': 10_000, '10m': 600_000, '2h': 7_200_000, '1d': 86_400_000, '007s': 7_000
  }
  for (const [text, ms] of Object.entries(good)) t.equal(parseDuration(text), ms, text)
  for (const text of [
    '', '10', 's', '-1s', '+1s', '1.5s', '1 s', ' 1s', '1s ', '1S', '1sec', '1w', '1h30m', '1e3s', '1000000000s', '1s\n'
  ]) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  }
})
