// Ensures that the tools the tests need in addition to npm packages exist: installs them if possible (root on Debian),
// or prints the command that does. Run by `npm test`; plain JavaScript, because it runs before anything is built.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { installValkey, isValkeyThere, VALKEY_COMMAND } from './support/redis/valkey.js'

const PACKAGES = {
  'redis-server': 'redis-server',
  nginx: 'nginx',
  chromium: 'chromium',
  python3: 'python3',
  haproxy: 'haproxy',
  lighttpd: 'lighttpd'
}
// Only Debian has this package; elsewhere test/examples/firefox.test.ts is skipped.
if (existsSync('/etc/os-release') && /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'))) {
  PACKAGES['firefox-esr'] = 'firefox-esr'
}
const PATHS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin']

const isThere = command => PATHS.some(folder => {
  try {
    accessSync(join(folder, command), constants.X_OK)
    return true
  } catch {
    return false
  }
})

/** The Valkey server comes from PyPI; on Debian, pip is a separate package. */
const hasPip = () => ['python3', '/usr/bin/python3'].some(
  python => spawnSync(python, ['-m', 'pip', '--version'], { stdio: 'ignore' }).status === 0
)
const missing = Object.keys(PACKAGES).filter(command => !isThere(command)).map(command => PACKAGES[command])
if (!isValkeyThere() && !hasPip()) missing.push('python3-pip')

function run (command, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0
}

function install () {
  const isRoot = process.getuid?.() === 0
  return isRoot && isThere('apt-get') && run('apt-get', ['update', '-q']) &&
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing])
}

if (missing.length > 0 && !install()) {
  console.error(
    `The tests need ${missing.join(', ')}. On Debian or Ubuntu install them with:\n\n  sudo apt-get update && sudo apt-get install -y ${missing.join(' ')}\n`
  )
  process.exit(1)
}

if (!isValkeyThere() && !installValkey()) {
  console.error(
    `The tests need a Valkey server: set VALKEY_SERVER to its path, or install one with:\n\n  ${VALKEY_COMMAND}\n`
  )
  process.exit(1)
}
