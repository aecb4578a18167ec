import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createBanner } from '../../../service/cli/banner.ts'
import { run, startService } from '../../support/processes/commands.ts'
import { certificateFiles } from '../../support/network/http2-client.ts'
import { KEYS, sign } from '../../support/auth/tokens.ts'

// The output of the command when it listens is pasted into a terminal unchanged.

const hasIPv6 = Object.values(networkInterfaces()).flat().some(address => address?.address === '::1')
const JWT_SECRET = 'it is signed with this by the tests'

const pem = join(t.testdir({ 'key.pem': KEYS.EdDSA.pem }), 'key.pem')
const files = certificateFiles(t)
const TLS = { TLS_CERT: files.cert, TLS_KEY: files.key }

/** By configuration: the variables of the service, and of the terminal into which its lines are pasted. */
const cases: Record<string, { env: Record<string, string>, terminal?: Record<string, string> }> = {
  nothing: { env: {} },
  'a public key and a list of allowed hosts': {
    env: { HOST: 'localhost', ALLOWED_HOSTS: 'events.example,127.0.0.1', JWT_PUBLIC_KEY: pem, JWT_ALGORITHM: 'EdDSA' },
    terminal: { TOKEN: await sign({}, { key: KEYS.EdDSA.privateKey, alg: 'EdDSA' }) }
  },
  'a proxy on this machine, and all addresses': {
    env: { HOST: '0.0.0.0', PROXY_HEADER: "X'User", PROXY_FROM: '127.0.0.0/8' }
  },
  'a secret and all settings of tokens': {
    env: {
      JWT_SECRET, JWT_ISSUER: 'issuer', JWT_AUDIENCE: 'listen', JWT_PUBLISH_AUDIENCE: 'publish', JWT_CLAIM: 'rights'
    }
  },
  'a secret, TLS, a name of another machine and all addresses': {
    env: { JWT_SECRET, ...TLS, ALLOWED_HOSTS: 'events.example:8443,other.example', HOST: '0.0.0.0' }
  },
  ...hasIPv6
    ? {
        '::1 and a name of another machine': { env: { HOST: '::1', ALLOWED_HOSTS: 'events.example' } },
        '::': { env: { HOST: '::', OPEN_TO_ALL: 'yes' } }
      }
    : {}
}

for (const [configured, { env, terminal = {} }] of Object.entries(cases)) {
  t.test(`with ${configured} both commands that are shown work as printed`, async t => {
    const { service } = await startService(t, { LOG: 'memory', ...env })
    const [token = '', listen = '', publish = ''] = ['Token', 'Listen', 'Publish'].map(
      name => new RegExp(`^ +${name}: +(.*)$`, 'm').exec(service.err)?.[1]
    )
    const paste = (line: string) => run(t, 'bash', ['-c', `${token}\nexec ${line}`], { ...env, ...terminal })
    const listener = paste(listen)
    await listener.until(({ out }) => out.includes('stream.open\ndata: \n\n'))
    const publisher = paste(publish)
    await publisher.ended
    t.match(publisher.out, /^{"id":"\d+-1"}$/)
    await listener.until(({ out }) => out.includes('data: hello\n\n'))
  })
}

const said = { where: 'events in Redis', file: '/usr/bin/resumable-sse' }
const nothing = {
  tlsCert: undefined,
  allowedHosts: undefined,
  jwtSecret: undefined,
  jwtPublicKey: undefined,
  jwksUrl: undefined,
  proxyHeader: undefined,
  proxyFrom: undefined
}

t.test('an IPv6 address is shown in brackets', async t => {
  t.match(
    createBanner({ address: '::1', port: 8080 }, nothing, said),
    'listens on http://[::1]:8080 (events in Redis)\n'
  )
})

t.test('an installed command is shown by its name', async t => {
  t.match(
    createBanner({ address: '127.0.0.1', port: 8080 }, { ...nothing, jwtSecret: 'x' }, said),
    'TOKEN=$(resumable-sse token --subscribe news --publish news)\n'
  )
})

// Regression: with npx the command was shown as `resumable-sse`, which the shell does not find: the token was empty.
t.test('a command that npx or a package script runs is shown with npx', async t => {
  for (const file of ['/root/.npm/_npx/2f1d/node_modules/.bin/resumable-sse', '/app/node_modules/.bin/resumable-sse']) {
    const banner = createBanner({ address: '127.0.0.1', port: 8080 }, { ...nothing, jwtSecret: 'x' }, { ...said, file })
    t.match(banner, 'TOKEN=$(npx resumable-sse token --subscribe news --publish news)\n')
  }
})

t.test('no command is shown if it would be rejected from this machine', async t => {
  const banner = createBanner({ address: '::', port: 8080 }, {
    ...nothing, proxyHeader: 'x-user', proxyFrom: ['10.0.0.1']
  }, said)
  t.match(
    banner,
    /\n {2}Listen and publish through the proxy that sets x-user \(PROXY_FROM\): requests from this machine are rejected\.\n\n$/
  )
  t.notMatch(banner, 'curl')
})
