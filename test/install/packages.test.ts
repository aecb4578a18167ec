import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { blocksOf, ROOT } from '../support/documents/markdown.ts'
import { exec, pack, project, succeed, writeFiles } from '../support/documents/packages.ts'

// Regression: installing `reply.sse()` added 41 packages and 36 MB to Fastify, including native code; and the tarball
// had no documentation.

/** All packages below a node_modules folder, and their total size in bytes. */
function weigh (folder: string): { packages: number, bytes: number } {
  const files = readdirSync(join(folder, 'node_modules'), {
    recursive: true, withFileTypes: true
  }).filter(entry => entry.isFile())
  const packages = files.filter(
    ({ name, parentPath }) => name === 'package.json' && /node_modules\/(@[^/]+\/)?[^/@]+$/.test(parentPath)
  ).length
  return {
    packages, bytes: files.reduce((sum, { name, parentPath }) => sum + statSync(join(parentPath, name)).size, 0)
  }
}

const ESM = `
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'
import { createChatStreams } from 'fastify-resumable-sse/ai'
const app = Fastify()
await app.register(sse)
await app.register(topics, { log: new MemoryLog() })
app.get('/', (request, reply) => reply.sse(['one', { event: 'two', data: { n: 2 } }], { retryMs: false }))
console.log((await app.inject('/')).body.includes('event: two'), typeof app.topics.publish, createChatStreams(app.topics).topicOf('7'))
`
const COMMON_JS = `
const Fastify = require('fastify')
const sse = require('fastify-resumable-sse')
const app = Fastify()
app.register(sse)
app.get('/', (request, reply) => reply.sse('hello', { retryMs: false }))
app.inject('/').then(({ body }) => console.log(body.includes('data: hello')))
`
/** Imports each export, and prints how that ended. */
const EXPORTS = `
import { createRequire } from 'node:module'
const { exports } = createRequire(import.meta.url)('fastify-resumable-sse/package.json')
const ended = {}
for (const name of Object.keys(exports).filter(name => name !== './package.json')) {
  ended[name] = await import('fastify-resumable-sse' + name.slice(1)).then(
    () => 'loaded', ({ message }) => message.replace(/ imported from .*/s, '')
  )
}
console.log(JSON.stringify(ended))
`
/** Regression: with only a proxy's header, `auth` could not be imported without the package of one-time tokens. */
const AUTH = `
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import { auth, MemoryTokenStore } from 'fastify-resumable-sse/auth'
const proxy = { header: 'x-user', from: ['127.0.0.1'] }
await Fastify().register(sse).register(auth, { proxy })
await Fastify().register(sse).register(auth, { proxy, oneTimeToken: { store: new MemoryTokenStore() } }).then(
  () => console.log('registered'), ({ message }) => console.log(message)
)
`
/** Needed by only one export or option, so the main export must not load them. */
const HEAVY = [
  'ioredis', 'lmdb', 'jose', '@fastify/rate-limit', '@fastify/cookie', 'eventsource-parser', 'cluster-key-slot'
]
/** Prints the packages whose modules were loaded: through require() and, by means of a loader hook, through import. */
const HOOK = `
import { register } from 'node:module'
register('data:text/javascript,' + encodeURIComponent("import { appendFileSync } from 'node:fs'; export async function load (url, context, next) { appendFileSync('loaded.txt', url + String.fromCharCode(10)); return next(url, context) }"))
`

t.test('the library: small, light, complete, and usable from ESM and CommonJS', async t => {
  const alone = await project(t, { packages: ['fastify@5'] })
  const folder = await project(t, {
    packages: [await pack(t, 'plugin'), 'fastify@5'],
    files: {
      'esm.mjs': ESM,
      'common.cjs': COMMON_JS,
      'hook.mjs': HOOK,
      'exports.mjs': EXPORTS,
      'auth.mjs': AUTH,
      'import.mjs': "import 'fastify-resumable-sse'\nimport { createRequire } from " +
        "'node:module'\nconsole.log(Object.keys(createRequire(import.meta.url).cache).join('\\n'))\n"
    }
  })

  const [without, withUs] = [weigh(alone), weigh(folder)]
  t.ok(
    withUs.packages - without.packages <= 12,
    `packages in addition to fastify: ${withUs.packages - without.packages}, at most 12`
  )
  t.ok(withUs.bytes - without.bytes <= 3_000_000, `bytes in addition to fastify: ${withUs.bytes - without.bytes}, at most 3 MB`)

  t.equal(await succeed(folder, process.execPath, ['esm.mjs']), 'true function chats/7\n')
  t.equal(await succeed(folder, process.execPath, ['common.cjs']), 'true\n')

  const required = await succeed(folder, process.execPath, ['--import', './hook.mjs', 'import.mjs'])
  const loaded = required + readFileSync(join(folder, 'loaded.txt'), 'utf8')
  t.match(loaded, /fastify-resumable-sse\/dist\/index\.js/)
  t.same(HEAVY.filter(name => loaded.includes(`node_modules/${name}/`)), [])

  t.same(
    await succeed(folder, process.execPath, ['exports.mjs']).then(JSON.parse),
    {
      ...Object.fromEntries(['.', './auth', './topics', './ai', './testing'].map(name => [name, 'loaded'])),
      './client': "Cannot find package 'eventsource-parser'",
      './auth/lmdb': 'LmdbTokenStore needs the package "lmdb": run "npm install lmdb"',
      './auth/redis': 'Redis needs the package "ioredis": run "npm install ioredis"',
      './topics/lmdb': 'LmdbLog needs the package "lmdb": run "npm install lmdb"',
      './topics/redis': 'Redis needs the package "ioredis": run "npm install ioredis"'
    },
    'without the optional peers, an export loads, or its error names the package'
  )
  t.equal(
    await succeed(folder, process.execPath, ['auth.mjs']),
    'the option "oneTimeToken" needs the package "@fastify/rate-limit": run "npm install @fastify/rate-limit"\n'
  )

  const home = join(folder, 'node_modules/fastify-resumable-sse')
  for (const file of [
    'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', 'docs/plugin.md', 'docs/topics.md',
    'examples/build-log/start.ts'
  ]) t.ok(statSync(join(home, file)).size > 0, file)
  t.same(deadLinks(home), [])

  const [clock = '', scores = ''] = readmePrograms()
  writeFiles(folder, { 'clock.mjs': clock + READ_CLOCK, 'scores.mjs': scores + READ_SCORE })
  t.match(
    await succeed(folder, process.execPath, ['clock.mjs']),
    /event: tick\ndata: \{"at":/,
    'the first example of the README'
  )
  t.match(
    await succeed(folder, process.execPath, ['scores.mjs']),
    /event: goal\ndata: \{"home":1\}/,
    'the second example of the README'
  )
})

/** The README's examples as a reader saves them, without a compiler, on a free port. */
function readmePrograms (): string[] {
  return blocksOf('README.md').filter(({ language }) => language === 'ts')
    .map(({ text }) => text.replace('port: 3000', 'port: 0'))
}

/** Reads a stream until it contains a text, and returns what was read. */
const READ = `
const origin = 'http://127.0.0.1:' + app.server.address().port
async function readUntil (reader, wanted, text = '') {
  while (!text.includes(wanted)) text += (await reader.read()).value
  return text
}
const readerOf = async path => (await fetch(origin + path)).body.pipeThrough(new TextDecoderStream()).getReader()
`
const READ_CLOCK = `${READ}
console.log(await readUntil(await readerOf('/clock'), '"}'))
process.exit()
`
const READ_SCORE = `${READ}
const reader = await readerOf('/events')
await readUntil(reader, 'stream.open')
await fetch(origin + '/scores', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"home":1}' })
console.log(await readUntil(reader, '"home":1}'))
process.exit()
`

/** Dead links in the documents of a package: relative ones to missing files. */
function deadLinks (home: string): string[] {
  const pages = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
    file => file.endsWith('.md') && !file.includes('node_modules')
  )
  return pages.flatMap(page => {
    const targets = [
      ...readFileSync(join(home, page), 'utf8').matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)
    ].map(([, target]) => target!)
    return targets.filter(target => statSync(join(home, page, '..', target), { throwIfNoEntry: false }) === undefined)
      .map(target => `${page}: ${target}`)
  })
}

/** Prints the CPU time of a process when it exits. */
const CPU = "process.on('exit', () => { const { userCPUTime, systemCPUTime } = process.resourceUsage(); " +
  "process.stderr.write('\\nCPU ' + (userCPUTime + systemCPUTime)) })\n"

async function cpuOf (folder: string, args: readonly string[]): Promise<number> {
  const { err } = await exec(folder, process.execPath, ['--import', './cpu.mjs', ...args])
  return Number(/CPU (\d+)$/.exec(err)?.[1])
}

t.test('the service: its command works once it is installed, and --version takes hardly longer than Node itself', async t => {
  const folder = await project(t, {
    packages: [await pack(t, 'plugin'), await pack(t, 'service')], files: { 'cpu.mjs': CPU }
  })
  const { version } = JSON.parse(readFileSync(join(ROOT, 'service/package.json'), 'utf8')) as { version: string }
  t.equal(await succeed(folder, 'npx', ['resumable-sse', '--version']), `${version}\n`)
  t.match(await succeed(folder, 'npx', ['resumable-sse', '--help']), /resumable-sse publish/)
  writeFiles(folder, { 'service.mjs': SERVICE, 'npx.mjs': NPX })
  t.match(
    await succeed(folder, process.execPath, ['npx.mjs']),
    /^id: \d+-1\ndata: hello$/m,
    'npx resumable-sse, as the README says'
  )
  t.match(await succeed(folder, process.execPath, ['service.mjs']), /"ids?"/)

  // The minimum of several runs, alternating, because other load on the machine affects both.
  const bare: number[] = []
  const ours: number[] = []
  for (let round = 0; round < 5; round++) {
    bare.push(await cpuOf(folder, ['-e', '0']))
    ours.push(await cpuOf(folder, ['node_modules/resumable-sse/dist/cli.js', '--version']))
  }
  const ratio = Math.min(...ours) / Math.min(...bare)
  t.ok(ratio <= 2, `CPU time of --version relative to a bare node -e 0: ${ratio.toFixed(2)}, at most 2`)
  t.same(deadLinks(join(folder, 'node_modules/resumable-sse')), [])
})

const SERVICE = `
import { buildService, readConfig } from 'resumable-sse'
const service = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent' }, []))
const { body } = await service.inject({ method: 'POST', url: '/topics/news/events', payload: { data: 'hello' } })
console.log(body)
await service.close()
`

/**
 * Runs the service with npx, publishes, prints the stream of a closed topic, and stops npx with all its child
 * processes.
 */
const NPX = `
import { spawn } from 'node:child_process'
const npx = spawn('npx', ['resumable-sse'], { detached: true, env: { ...process.env, PORT: '0', LOG: 'memory' }, stdio: ['ignore', 'ignore', 'pipe'] })
process.on('exit', () => process.kill(-npx.pid))
const origin = await new Promise((resolve, reject) => {
  let said = ''
  npx.stderr.on('data', chunk => {
    said += chunk
    const [, origin] = /listens on (http\\S+) /.exec(said) ?? []
    if (origin) resolve(origin)
  })
  npx.on('close', () => reject(new Error(said)))
})
const publish = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"data":"hello"}' }
await fetch(origin + '/topics/news/events', publish)
await fetch(origin + '/topics/news/close', { method: 'POST' })
console.log(await (await fetch(origin + '/events?topic=news&last=1')).text())
process.exit()
`
