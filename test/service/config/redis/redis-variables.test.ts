import { join } from 'node:path'
import t from 'tap'
import { redisConnection } from '../../../../service/config/redis/redis-connection.ts'
import { readConfig } from '../../../../service/config/read-config.ts'
import { certificateFiles } from '../../../support/network/http2-client.ts'
import { problemsOf } from '../../../support/config.ts'

// What REDIS_URL and the variables around it are read as. That Redis is reached so is shown in
// redis-deployments.test.ts.

const connectionOf = (env: Record<string, string>): unknown => redisConnection(readConfig(env))

t.test('each form of the URL becomes options of the client library, including percent-encoding', async t => {
  const cases: [string, unknown][] = [
    ['redis://h', { host: 'h', port: 6379, db: 0 }],
    ['redis://[2001:db8::1]:1/7', { host: '2001:db8::1', port: 1, db: 7 }],
    ['redis://:p%40ss%3Aw%2Frd%23%3F%25%26%C3%A9@h', { host: 'h', port: 6379, db: 0, password: 'p@ss:w/rd#?%&é' }],
    ['redis://:p@ss:word@h', { host: 'h', port: 6379, db: 0, password: 'p@ss:word' }],
    ['redis://us%3Aer:p@h', { host: 'h', port: 6379, db: 0, username: 'us:er', password: 'p' }],
    ['rediss://h', { host: 'h', port: 6379, db: 0, tls: {} }],
    ['redis+sentinel://u:p@a,b:1/my%20master/2', {
      sentinels: [{ host: 'a', port: 26_379 }, { host: 'b', port: 1 }],
      name: 'my master',
      db: 2,
      username: 'u',
      password: 'p'
    }],
    ['rediss+sentinel://a/m', {
      sentinels: [{ host: 'a', port: 26_379 }],
      name: 'm',
      db: 0,
      tls: {},
      sentinelTLS: {},
      enableTLSForSentinelMode: true
    }],
    ['redis+cluster://u:p@a,[::1]:7000', {
      cluster: [{ host: 'a', port: 6379 }, { host: '::1', port: 7000 }], redisOptions: { username: 'u', password: 'p' }
    }],
    ['rediss+cluster://a', { cluster: [{ host: 'a', port: 6379 }], redisOptions: { tls: {} } }],
    ['unix:///run/a%20b.sock?db=3', { path: '/run/a b.sock', db: 3 }],
    ['redis+unix://u:p@/run/r.sock', { path: '/run/r.sock', db: 0, username: 'u', password: 'p' }]
  ]
  for (const [REDIS_URL, connection] of cases) t.strictSame(connectionOf({ REDIS_URL }), connection, REDIS_URL)
})

t.test('user, passwords and TLS files can also be set by separate variables', async t => {
  const { cert, key } = certificateFiles(t)
  t.match(connectionOf({
    REDIS_URL: 'rediss+sentinel://a/m',
    REDIS_USERNAME: 'u',
    REDIS_PASSWORD: 'p%',
    REDIS_SENTINEL_USERNAME: 's',
    REDIS_SENTINEL_PASSWORD: 'q',
    REDIS_TLS_CA: cert,
    REDIS_TLS_CERT: cert,
    REDIS_TLS_KEY: key
  }), {
    username: 'u',
    password: 'p%',
    sentinelUsername: 's',
    sentinelPassword: 'q',
    tls: { ca: Buffer, cert: Buffer, key: Buffer },
    sentinelTLS: { ca: Buffer }
  })
  t.match(connectionOf({ REDIS_URL: 'redis://u@h', REDIS_PASSWORD: 'p' }), { username: 'u', password: 'p' })
})

// A name as database ended the process with a stack, `50%off` was "URI malformed", /99 was used as database 0 (F5).
t.test('every mistake in the URL is reported at once, with its part, and never with the password', async t => {
  const cases: [string, string[]][] = [
    ['redis://h/events', ['has the database "events": it must be an integer from 0 to 2147483646']],
    ['redis://h/-1', ['has the database "-1"']],
    ['redis://h/99999999999', ['has the database "99999999999"']],
    ['redis://h/0x1', ['has the database "0x1"']],
    ['redis://h/1/2', ['has the database "1/2"']],
    ['redis://app:se50%cret@h', ['has a "%" in its password that is not followed by the two hexadecimal digits']],
    ['redis://a%zz:secret@h', ['has a "%" in its user name']],
    ['redis://:secret%E9@h', ['has a "%" in its password']],
    [
      'redis://:secret@h?family=6&tls=true',
      ['has the option "family": a Redis URL has no options, and the database is its path', 'has the option "tls"']
    ],
    ['redis://:secret@h#x', ['has a "#"']],
    ['redis://:se/cret@h', ['has a "/", "?" or "#" in its user name or password: write them as %2F, %3F and %23']],
    ['redis://:se#cret@h', ['has a "/", "?" or "#"']],
    ['redis://:se?cret@h:1/2', ['has a "/", "?" or "#"']],
    // What follows the first "/" was shown as the database: the rest of the password.
    ['redis://user:se@cret/secret@h:1', ['has a "/", "?" or "#" in its user name or password']],
    ['redis+sentinel://user:se@cret/secret@h/m', ['has a "/", "?" or "#"']],
    ['rediss://user:se@cret?secret@h', ['has a "/", "?" or "#"']],
    ['redis+cluster://user:se@cret#secret@h', ['has a "/", "?" or "#"']],
    ['redis://:secret', ['has the host ""']],
    ['redis://user:secret', ['has a port that is not an integer from 1 to 65535']],
    ['redis://:secret@h:0', ['has a port that is not an integer from 1 to 65535, saw "0"']],
    ['redis://:secret@h:65536', ['saw "65536"']],
    ['redis://:secret@h:', ['saw ""']],
    ['redis://:secret@h_!:1', ['has the host "h_!"']],
    ['redis://:secret@::1:6379', ['has the host ""']],
    ['redis://:secret@[::1]b:1', ['has the host ""']],
    ['redis://:secret@[h]', ['has the host "h"']],
    ['redis://:secret@', ['has the host ""']],
    ['redis://:secret@a,b', ['has 2 hosts: write redis+sentinel:// or redis+cluster:// for more than one']],
    ['redis+cluster://:secret@a,:secret@b', ['has an "@" in its password, or more than one user']],
    ['redis+cluster://:secret@a/3', ['has the database 3: a cluster has only 0']],
    ['redis+sentinel://:secret@a', ['must name the master that the Sentinels watch']],
    ['redis+sentinel://:secret@a//1', ['must name the master']],
    ['redis+sentinel://:secret@a/%', ['has a "%" in its name of the master']],
    ['redis+sentinel://:secret@a,/m', ['has the host ""']],
    ['unix://run/redis.sock', ['must have three slashes before the path of the socket']],
    ['unix://:secret@/', ['must have three slashes']],
    [
      'unix:///run/r.sock?db=x&protocol=3',
      ['has the option "protocol": the only option for a socket is db', 'has the database "x"']
    ],
    ['unix:///run/r.sock?db=1&db=2', ['has the database "1,2"']],
    [`unix:///${'ö'.repeat(60)}`, ['has a socket path of 121 bytes: the system allows 107']],
    ['unix:///%', ['has a "%" in its path']],
    [
      'redis://us%er:sec%ret@h h:x/y?z=1#w',
      ['"#"', 'host "h h"', 'option "z"', 'database "y"', 'user name', 'password']
    ]
  ]
  for (const [REDIS_URL, expected] of cases) {
    const problems = problemsOf({ REDIS_URL })
    t.equal(problems.length, expected.length, `${REDIS_URL}: ${problems.join('; ')}`)
    for (const [at, text] of expected.entries()) {
      t.ok(problems[at]?.startsWith('REDIS_URL ') && problems[at].includes(text), `${REDIS_URL}: ${problems[at]}`)
    }
    t.notMatch(problems.join(), /secret|sec%|se50/)
  }
})

t.test('the settings of Redis must be consistent', async t => {
  const { cert, key } = certificateFiles(t)
  const other = certificateFiles(t)
  const folder = t.testdir({
    text: 'no certificate', broken: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  })
  const [text, broken] = [join(folder, 'text'), join(folder, 'broken')]
  const cases: [Record<string, string>, RegExp][] = [
    [{ REDIS_PASSWORD: 'p' }, /^REDIS_PASSWORD applies to Redis only: also set REDIS_URL$/],
    [{ REPLICAS: '1' }, /^REPLICAS=1 needs LOG=redis$/],
    [{ REDIS_URL: 'redis://u:p@h', REDIS_USERNAME: 'v' }, /^REDIS_USERNAME is set, and REDIS_URL has a user name/],
    [{ REDIS_URL: 'redis://:p@h', REDIS_PASSWORD: 'q' }, /^REDIS_PASSWORD is set, and REDIS_URL has a password/],
    [{ REDIS_URL: 'redis://u@h' }, /^a Redis user needs a password/],
    [{ REDIS_URL: 'redis://h', REDIS_USERNAME: 'u' }, /^a Redis user needs a password/],
    [
      { REDIS_URL: 'redis://h', REDIS_SENTINEL_PASSWORD: 'q' },
      /^REDIS_SENTINEL_PASSWORD applies to Sentinels only: write/
    ],
    [{ REDIS_URL: 'redis://h', REDIS_TLS_CA: cert }, /^REDIS_TLS_CA applies to TLS only: write REDIS_URL with rediss/],
    [{ REDIS_URL: 'unix:///s', REDIS_TLS_CA: cert }, /^REDIS_TLS_CA applies to TLS only/],
    [{ REDIS_URL: 'rediss://h', REDIS_TLS_CERT: cert }, /^REDIS_TLS_CERT and REDIS_TLS_KEY must be set together/],
    [
      { REDIS_URL: 'rediss://h', REDIS_TLS_CERT: cert, REDIS_TLS_KEY: other.key },
      /^REDIS_TLS_KEY is not the private key of the first certificate in REDIS_TLS_CERT$/
    ],
    [{ REDIS_URL: 'rediss://h', REDIS_TLS_CERT: text, REDIS_TLS_KEY: key }, /^REDIS_TLS_CERT contains no certificate/],
    [{ REDIS_URL: 'rediss://h', REDIS_TLS_CA: text }, /^REDIS_TLS_CA contains no certificate/],
    [
      { REDIS_URL: 'rediss://h', REDIS_TLS_CERT: broken, REDIS_TLS_KEY: key },
      /^REDIS_TLS_CERT, REDIS_TLS_KEY cannot be used: /
    ]
  ]
  for (const [env, problem] of cases) {
    const problems = problemsOf(env)
    t.equal(problems.length, 1, problems.join('; '))
    t.match(problems[0], problem)
  }
})
