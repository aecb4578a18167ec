// Makes sure that what the tests need beside npm's packages is there: installs it where it may (root on Debian), or
// says which command does. Run by `npm test`; plain JavaScript, because it runs before anything is built.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const PACKAGES = { 'redis-server': 'redis-server', nginx: 'nginx', chromium: 'chromium', python3: 'python3' }
const PATHS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin']

const isThere = command => PATHS.some(folder => {
  try {
    accessSync(join(folder, command), constants.X_OK)
    return true
  } catch {
    return false
  }
})

const missing = Object.keys(PACKAGES).filter(command => !isThere(command)).map(command => PACKAGES[command])

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
  console.error(`The tests need ${missing.join(', ')}. On Debian or Ubuntu install them with:\n\n  sudo apt-get update && sudo apt-get install -y ${missing.join(' ')}\n`)
  process.exit(1)
}
