import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { variables } from '../../service/config/config.ts'
import { readConfig } from '../../service/config/read-config.ts'
import { run } from '../support/processes/commands.ts'
import { certificateFiles } from '../support/network/http2-client.ts'
import { blocksOf, readDoc, ROOT } from '../support/documents/markdown.ts'
import { startDeployedNginx } from '../support/network/nginx.ts'
import { stablePort } from '../support/network/ports.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { call } from '../support/service/service-app.ts'

// The systemd unit, and the commands of docs/deploy.md that set up two instances of it behind nginx.

const UNIT = 'resumable-sse@.service'
const commands = blocksOf('docs/deploy.md')
  .filter(({ section }) => section === 'One machine without containers')
  .flatMap(({ text }) => text.split('\n').map(line => line.replace(/^\$ /, '')))

/** Settings of the unit, with all values of those that are given more than once. */
const settings = new Map<string, string[]>()
for (const [, name = '', value = ''] of readDoc(`deploy/${UNIT}`).matchAll(/^(\w+)=(.*)$/gm)) {
  settings.set(name, [...settings.get(name) ?? [], value])
}
const setting = (name: string): string => settings.get(name)!.join(' ')

/** How long a worker may take in addition to its drain, and how much of that must be left. */
const WORKER_END_MS = 3_000
const MARGIN_MS = 5_000

const commandWith = (text: string): string => {
  const found = commands.filter(command => command.includes(text))
  if (found.length !== 1) throw new Error(`${found.length} commands of docs/deploy.md have ${text}`)
  return found[0]!
}

/** Runs a command as root would, with the machine's folders replaced by folders below the test's. */
function doAt (root: string, command: string): void {
  for (const folder of ['etc/nginx/conf.d', 'etc/systemd/system']) mkdirSync(join(root, folder), { recursive: true })
  execFileSync('bash', [
    '-c', `umask 000; ${command.replaceAll('sudo ', '').replaceAll(' /etc/', ` ${root}/etc/`)}`
  ], { cwd: ROOT })
}

/** The environment file that the commands create. */
function makeEnvironment (root: string): { file: string, env: Record<string, string> } {
  doAt(root, commandWith('install -d'))
  doAt(root, commandWith('JWT_SECRET='))
  const file = join(root, 'etc/resumable-sse/env')
  return {
    file,
    env: Object.fromEntries(readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map(line => line.split(/=(.*)/s, 2) as [string, string]))
  }
}

const hasAnalyze = (process.env.PATH ?? '').split(':').some(folder => existsSync(join(folder, 'systemd-analyze')))

t.test('systemd reports no problems in the unit', { skip: hasAnalyze ? false : 'there is no systemd-analyze' }, async t => {
  const folder = t.testdir()
  const unit = readDoc(`deploy/${UNIT}`)
  t.match(unit, '\nExecStart=/usr/bin/node ')
  writeFileSync(join(folder, UNIT), unit.replace('/usr/bin/node', process.execPath))
  const verify = run(t, 'systemd-analyze', ['verify', '--man=no', join(folder, UNIT)])
  t.equal(await verify.exit(), 0)
  t.equal(verify.err, '')
})

t.test('it has no more rights than it needs, and as many file descriptors as streams', async t => {
  for (const [name, value] of Object.entries({
    DynamicUser: 'yes',
    NoNewPrivileges: 'yes',
    ProtectSystem: 'strict',
    ProtectHome: 'yes',
    PrivateDevices: 'yes',
    CapabilityBoundingSet: '',
    RestrictNamespaces: 'yes',
    UMask: '0077'
  })) t.equal(setting(name), value, name)
  t.ok(Number(setting('LimitNOFILE')) > readConfig({}).maxStreams)
})

t.test('the files written for it belong to root alone, whatever the umask, and the service accepts them; SIGKILL comes after the drain', async t => {
  const { file, env } = makeEnvironment(t.testdir())
  t.equal(statSync(file).mode & 0o777, 0o600)
  for (const name of Object.keys(env)) t.ok(Object.hasOwn(variables, name), name)
  const { log, drainMs, drainDelayMs } = readConfig(env)
  t.equal(log, 'redis')
  t.ok(Number(setting('TimeoutStopSec')) * 1_000 >= drainMs + drainDelayMs + WORKER_END_MS + MARGIN_MS)
  const defaults = readConfig({})
  t.ok(
    Number(setting('TimeoutStopSec')) * 1_000 >= defaults.drainMs + defaults.drainDelayMs + WORKER_END_MS + MARGIN_MS,
    'it also does by default'
  )
})

// Regression: its permissions depended on the umask.
t.test('only its owner can read the file with the secret of compose', async t => {
  const command = blocksOf('docs/deploy.md')
    .flatMap(({ text }) => text.split('\n'))
    .find(line => line.includes('> .env')) ?? ''
  const folder = t.testdir()
  execFileSync('bash', ['-c', `umask 000; ${command.replace(/^\$ /, '')}`], { cwd: folder })
  t.equal(statSync(join(folder, '.env')).mode & 0o777, 0o600)
})

/** Starts the program of the unit, under the unit's name. */
async function startUnit (t: Test, port: number, env: Record<string, string>): Promise<void> {
  const [node, ...args] = setting('ExecStart').replaceAll('%i', `${port}`).split(' ')
  t.equal(node, '/usr/bin/node')
  const service = run(t, process.execPath, args, env)
  await service.until(({ err }) => err.includes(`listens on http://127.0.0.1:${port} (events in Redis)`))
}

t.test('two instances of it serve behind nginx, as the commands configure it', async t => {
  const root = t.testdir()
  const { env } = makeEnvironment(root)
  const { url } = await RedisServer.start(t)
  doAt(root, commandWith('deploy/nginx.conf'))
  const ports: [number, number] = [await stablePort(), await stablePort()]
  for (const port of ports) await startUnit(t, port, { ...env, REDIS_URL: url })
  const { http } = await startDeployedNginx(t, ports)
  t.match(await call(`${http}/topics/news`), { status: 401 })
})

// Regression: the commands overwrote /etc/nginx/nginx.conf, so the machine's other sites were gone.
t.test('nginx accepts it as an additional site, and everything else stays as it was', async t => {
  const root = t.testdir()
  doAt(root, commandWith('deploy/nginx.conf'))
  t.same(readdirSync(join(root, 'etc/nginx')), ['conf.d'])
  const { cert, key } = certificateFiles(t)
  const file = join(root, 'etc/nginx/conf.d/resumable-sse.conf')
  const site = readFileSync(file, 'utf8')
  t.notMatch(site, /server (?:one|two):|\/dev\/stdout|worker_|server_name _;/)
  writeFileSync(file, site.replace('/etc/nginx/tls/cert.pem', cert)
    .replace('/etc/nginx/tls/key.pem', key)
    .replaceAll('/var/log/nginx', root))
  // As on Debian: settings of its own, and sites.
  writeFileSync(join(
    root,
    'nginx.conf'
  ),
  `pid ${root}/pid; events {} http { access_log ${root}/access.log; ssl_protocols TLSv1.2; gzip on; server { listen 80 default_server; server_name _; } include ${root}/etc/nginx/conf.d/*.conf; }`)
  const nginx = run(t, 'nginx', [
    '-t', '-c', join(root, 'nginx.conf'), '-e', join(root, 'error.log')
  ], { PATH: `${process.env.PATH}:/usr/sbin` })
  await nginx.ended
  t.match(nginx.err, 'test is successful')
})

t.test('the unit is installed where systemd looks for it, and enabled for the ports that nginx uses', async t => {
  const root = t.testdir()
  doAt(root, commandWith('systemd/system'))
  t.equal(readFileSync(join(root, 'etc/systemd/system', UNIT), 'utf8'), readDoc(`deploy/${UNIT}`))
  const enabled = [...commandWith('enable --now').matchAll(/@(\d+)/g)].map(match => match[1])
  t.same([...commandWith('deploy/nginx.conf').matchAll(/127\.0\.0\.1:(\d+)/g)].map(match => match[1]), enabled)
  t.equal(enabled.length, 2)
  t.same(commands
    .filter(command => command.includes('systemctl restart'))
    .map(command => /@(\d+)/.exec(command)?.[1]), enabled)
})
