import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { variables } from '../../../service/config/config.ts'
import { FILE_VARIABLES, flagOf, readConfig } from '../../../service/config/read-config.ts'
import { weaknessOf } from '../../../service/config/secrets/secret.ts'
import { warningsOf } from '../../../service/config/warnings.ts'
import type { Env } from '../../support/config.ts'
import { problemsOf } from '../../support/config.ts'
import { runCommand } from '../../support/processes/terminal.ts'
import { SECRET } from '../../support/auth/tokens.ts'

t.test('a secret can be read from a file named by a variable or a flag, without the line break at its end', async t => {
  const folder = t.testdir({
    unix: `${SECRET}\n`, windows: `${SECRET}\r\n`, bare: SECRET, url: 'redis://:p@h\n', lines: `${SECRET}\n\n`
  })
  for (const file of ['unix', 'windows', 'bare']) {
    t.equal(readConfig({ JWT_SECRET_FILE: join(folder, file) }).jwtSecret, SECRET)
    t.equal(readConfig({}, ['--jwt-secret-file', join(folder, file)]).jwtSecret, SECRET)
  }
  t.equal(readConfig({ JWT_SECRET_FILE: join(folder, 'lines') }).jwtSecret, `${SECRET}\n`, 'only one line break')
  t.match(readConfig({ REDIS_URL_FILE: join(folder, 'url') }), { log: 'redis', redisUrl: 'redis://:p@h' })
  t.equal(readConfig({ JWT_SECRET: 'overruled', JWT_SECRET_FILE: '/nowhere' }, [
    '--jwt-secret-file', join(folder, 'bare')
  ]).jwtSecret, SECRET, 'the flag has precedence')
  t.equal(readConfig({ JWT_SECRET: SECRET, JWT_SECRET_FILE: '' }).jwtSecret, SECRET, 'an empty one counts as not set')
})

t.test('an unreadable file, an empty one, and a variable together with its file are problems', async t => {
  const folder = t.testdir({ empty: '', short: 'short', url: 'redis://:secret@h/x' })
  const cases: [Env, string[], RegExp][] = [
    [
      { JWT_SECRET_FILE: '/nowhere' },
      [],
      /^JWT_SECRET_FILE must be the path of a readable file, saw "\/nowhere": it does not exist$/
    ],
    [{}, ['--redis-password-file', folder], /^--redis-password-file must be the path of a readable file/],
    [
      { JWT_SECRET_FILE: join(folder, 'empty') },
      [],
      /^JWT_SECRET_FILE must be a random string of at least 32 bytes, saw "\*\*\*"$/
    ],
    [{ JWT_SECRET_FILE: join(folder, 'short') }, [], /^JWT_SECRET_FILE must be a random string/],
    [
      { REDIS_PASSWORD_FILE: join(folder, 'empty'), REDIS_URL: 'redis://h' },
      [],
      /^REDIS_PASSWORD_FILE must be any string, saw "\*\*\*"$/
    ],
    [{ REDIS_URL_FILE: join(folder, 'url') }, [], /^REDIS_URL_FILE has the database "x"/],
    [
      { JWT_SECRET: SECRET, JWT_SECRET_FILE: join(folder, 'empty') },
      [],
      /^JWT_SECRET and JWT_SECRET_FILE are mutually exclusive/
    ]
  ]
  for (const [env, argv, problem] of cases) {
    const problems = problemsOf(env, argv)
    t.equal(problems.length, 1, problems.join())
    t.match(problems[0], problem)
  }
})

// `ps` shows the command line of every process to everybody on the machine.
t.test('a secret as a flag is rejected, and not repeated', async t => {
  for (const name of FILE_VARIABLES.keys()) {
    const value = name === 'REDIS_URL' ? 'redis://:hidden@h' : `hidden ${SECRET}`
    const problems = problemsOf({ REDIS_URL: name === 'REDIS_URL' ? '' : 'redis://h' }, [`--${flagOf(name)}`, value])
    t.match(problems, [
      `--${flagOf(name)} would show a secret in the process list: set ${name} or ${name}_FILE instead`
    ])
    t.notMatch(problems.join(), 'hidden')
  }
  t.same(problemsOf({}, ['--redis-url', 'redis://h']), [], 'a URL without a password is not a secret')
  const secret = Object.entries(variables).filter(([name]) => /SECRET|PASSWORD/.test(name)).map(([name]) => name)
  t.same(secret.filter(name => !FILE_VARIABLES.has(name)), [], 'every secret can be in a file')
})

// The secret of docs/auth.md and 32 times "a" were accepted on 0.0.0.0; a token printed in the docs could publish
// (S22).
t.test('a secret that is printed in documentation or easy to guess is rejected', async t => {
  const cases: Record<string, string> = {
    '0123456789abcdef0123456789abcdef': 'is printed in documentation',
    'a-string-secret-at-least-256-bits-long': 'is printed in documentation',
    ['a'.repeat(32)]: 'has only 1 different characters',
    ['ab12'.repeat(20)]: 'has only 4 different characters',
    ['changeme'.repeat(4)]: 'has only 7 different characters',
    ['topsecret1'.repeat(4)]: 'repeats itself',
    ['Zq8#kP2!x'.repeat(5).slice(0, 40)]: 'repeats itself',
    abcdefghijklmnopqrstuvwxyz0123456789: 'is a sequence',
    qwertyuiopasdfghjklzxcvbnm1234567890: 'is a sequence',
    aaaabbbbccccddddeeeeffffgggghhhh: 'is a sequence'
  }
  for (const [secret, weakness] of Object.entries(cases)) {
    t.same(problemsOf({ JWT_SECRET: secret }), [
      `JWT_SECRET must be random, but this one ${weakness}: generate one with openssl rand -base64 48`
    ], secret)
  }
})

t.test('a random secret is accepted, in any encoding', async t => {
  for (const encoding of ['hex', 'base64', 'base64url'] as const) {
    for (let round = 0; round < 2_000; round++) {
      t.equal(weaknessOf(randomBytes(encoding === 'hex' ? 16 : 24).toString(encoding)), undefined)
    }
  }
})

t.test('the time to check a secret grows linearly with its length', async t => {
  // Each has a long border almost everywhere, where a naive search would start over.
  const stepsOf = (length: number): number => {
    const secret = `${'abcdefgh'.repeat(length / 8)}!`
    const startedAt = process.cpuUsage()
    weaknessOf(secret)
    const { user, system } = process.cpuUsage(startedAt)
    return user + system
  }
  stepsOf(100_000)
  t.ok(stepsOf(800_000) < 100 * stepsOf(80_000) + 1_000_000)
})

t.test('a valid setting that is probably a mistake causes a warning', async t => {
  const cases: [Env, RegExp[]][] = [
    [{}, []],
    [{ JWT_SECRET: SECRET }, []],
    [{ JWT_SECRET: 'correct horse battery staple and more' }, [/^JWT_SECRET looks like words/]],
    [
      { JWT_SECRET: SECRET, JWT_SECRET_PREVIOUS: 'correct horse battery staple and more' },
      [/^JWT_SECRET_PREVIOUS looks like words/]
    ],
    [{ JWT_SECRET: 'my-Super-Secret_key-f0r-pr0duction!' }, [/^JWT_SECRET looks like words/]],
    [
      { JWKS_URL: 'https://id.example' },
      [/^JWKS_URL without JWT_AUDIENCE and JWT_ISSUER: tokens that the issuer made for other services/]
    ],
    [{ JWKS_URL: 'https://id.example', JWT_AUDIENCE: 'a' }, [/^JWKS_URL without JWT_ISSUER/]],
    [{ JWKS_URL: 'https://id.example', JWT_AUDIENCE: 'a', JWT_ISSUER: 'b' }, []],
    [
      { PROXY_HEADER: 'x-user', PROXY_FROM: '127.0.0.1' },
      [/^PROXY_HEADER without TRUST_PROXY: all clients have the address of the proxy/]
    ],
    [{ PROXY_HEADER: 'x-user', PROXY_FROM: '127.0.0.1', TRUST_PROXY: '127.0.0.1' }, []],
    // docker --env-file passes quotation marks on: every token was rejected, and events were in a folder nobody looked
    // for.
    [
      { JWT_SECRET: `"${SECRET}"` }, [/^JWT_SECRET begins and ends with a quotation mark, .*: it is part of the value$/]
    ],
    [{ JWT_SECRET: `${SECRET} ` }, [/^JWT_SECRET begins or ends with white space: it is part of the value$/]],
    [{ DATA_DIR: "'/data'" }, [/^DATA_DIR begins and ends with a quotation mark/]],
    [{ DATA_DIR: '~/data' }, [/^DATA_DIR "~\/data" is a folder of that name/]],
    [
      { MAX_EVENT_BYTES: '1048577' },
      [/^MAX_EVENT_BYTES=1048577 is more than MAX_BODY_BYTES=1048576: no JSON or text body can contain such an event$/]
    ],
    [{ MAX_EVENT_BYTES: '1048576' }, []],
    [
      { PREFIX: 'app:', REPLICAS_TIMEOUT_MS: '5', CANARY_MS: '50' },
      ['PREFIX', 'REPLICAS_TIMEOUT_MS', 'CANARY_MS'].map(name =>
        new RegExp(`^${name} has no effect with LOG=lmdb: it applies to LOG=redis only$`))
    ],
    [{ PREFIX: 'sse:', DURABILITY: 'process', DATA_DIR: 'd' }, []],
    [
      { LOG: 'redis', REDIS_URL: 'redis://127.0.0.1', PREFIX: 'app:', DURABILITY: 'process', DATA_DIR: 'd' },
      [/^DURABILITY has no effect with LOG=redis: it applies to LOG=lmdb only$/]
    ]
  ]
  for (const [env, warnings] of cases) {
    const told = warningsOf(readConfig(env), env)
    t.equal(told.length, warnings.length, told.join())
    for (const [at, warning] of warnings.entries()) t.match(told[at], warning)
  }
})

// LOG_LEVL and MAX_EVENT were passed over in silence.
t.test('a variable with a name similar to one of the service causes a warning, all others are ignored', async t => {
  const close = {
    LOG_LEVL: 'LOG_LEVEL',
    MAX_EVENT: 'MAX_EVENTS',
    REDIS_URI: 'REDIS_URL',
    log_level: 'LOG_LEVEL',
    JWT_SECRETS_FILE: 'JWT_SECRET_FILE',
    DATADIR: 'DATA_DIR',
    WORKER: 'WORKERS',
    OPEN_T0_ALL: 'OPEN_TO_ALL',
    HEARTBEAT: 'HEARTBEAT_MS',
    drain: 'DRAIN_MS'
  }
  const foreign = [
    'PATH', 'HOME', 'LANG', 'TERM', 'SHELL', 'USER', 'LOGNAME', 'HOSTNAME', 'HOSTTYPE', 'PWD', 'OLDPWD', 'SHLVL',
    'MAIL', 'TZ', 'LC_ALL', 'EDITOR', 'PAGER', 'NODE_ENV', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS',
    'REDIS_PORT', 'REDIS_HOST', 'REDIS_SERVICE_HOST', 'REDIS_SERVICE_PORT', 'REDIS_PORT_6379_TCP', 'KUBERNETES_PORT',
    'HTTP_PROXY', 'NO_PROXY', 'npm_config_prefix', 'npm_package_name', 'MAX_TOKENS', 'TOPIC', 'INVOCATION_ID',
    'JOURNAL_STREAM',
    'RESUMABLE_SSE_URL', 'RESUMABLE_SSE_TOKEN', 'OTEL_SERVICE_NAME', 'DEBUG', 'TMPDIR', 'XDG_DATA_DIRS', 'JWT_KEY',
    'TLS_CA', 'CI', '_'
  ]
  for (const [name, meant] of Object.entries(close)) {
    t.same(warningsOf(readConfig({}), { [name]: 'x' }), [
    `${name} is not a variable of the service and has no effect, did you mean ${meant}?`
    ])
  }
  t.same(warningsOf(readConfig({}), { ...Object.fromEntries(foreign.map(name => [name, 'x'])), LOG_LEVL: '' }), [])
})

t.test('warnings are written to stderr, also by --check, and change nothing else', async t => {
  const { code, out, err } = await runCommand(['--check'], { LOG: 'memory', LOG_LEVL: 'debug' })
  t.equal(code, 0)
  t.match(out, /^resumable-sse would listen on /)
  t.equal(
    err,
    'resumable-sse: warning: LOG_LEVL is not a variable of the service and has no effect, did you mean LOG_LEVEL?\n'
  )
})
