import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { variables } from '../../service/config/config.ts'
import { Command, run } from '../support/processes/commands.ts'
import { imageEnvironment, readDockerfile } from '../support/documents/deploy.ts'
import { readDoc, ROOT } from '../support/documents/markdown.ts'
import { stablePort } from '../support/network/ports.ts'

// Needs no container engine: the steps of the Dockerfile are run directly, each stage in a new folder, and the content
// of the last stage is started as the container would be.

/** Runs a step as `RUN` does, in the folder that replaces `WORKDIR`, without tap's environment. */
async function runStep (t: Test, folder: string, text: string, env: Record<string, string> = {}): Promise<void> {
  const command = new Command('bash', ['-c', `cd ${folder} && unset NODE_OPTIONS NODE_ENV && ${text}`], env)
  t.equal(await command.exit(), 0, `${text}\n${command.err}`)
}

/** True if .dockerignore does not exclude the path. */
function isInContext (path: string): boolean {
  const [first, ...rest] = readDoc('.dockerignore').trim().split('\n')
  return first === '*' && rest.includes(`!${path.split('/')[0]}`)
}

/** Built files are excluded from the context; the second stage copies those of the first one. */
function isCopied (path: string): boolean {
  return !['plugin/dist', 'service/dist'].some(folder => path.startsWith(ROOT + folder))
}

/**
 * Copies as COPY does: into a folder if the target ends with a slash, or if the source is a file and the target a
 * folder.
 */
function copy (t: Test, text: string, folder: string, builder: string | undefined): void {
  const words = text.split(' ').filter(word => !word.startsWith('--'))
  const target = words.pop()!
  for (const source of words) {
    const from = text.startsWith('--from=build') ? source.replace('/app', builder!) : join(ROOT, source)
    if (!text.startsWith('--from')) t.ok(isInContext(source), `.dockerignore includes ${source}`)
    cpSync(from, target.endsWith('/') ? join(folder, target, basename(source)) : join(folder, target), {
      recursive: true, filter: isCopied
    })
  }
}

/** Executes a stage and returns its folder. */
async function buildStage (t: Test, stage: number, builder?: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'image-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const { name, text } of readDockerfile().filter(instruction => instruction.stage === stage)) {
    if (name === 'COPY') copy(t, text, folder, builder)
    // There is no user `node` here; that the folder belongs to that user is checked below.
    if (name === 'RUN') await runStep(t, folder, text.replace(' && chown node:node data', ''))
  }
  return folder
}

/** `npm ci` runs twice, which takes long, so only `npm run soak` enables it. */
const skip = process.env.IMAGE_STEPS === 'yes' ? false : 'set IMAGE_STEPS=yes, as npm run soak does'

t.test('the steps of the Dockerfile build a service that starts, is healthy, and stops on SIGTERM', { skip }, async t => {
  const builder = await buildStage(t, 0)
  const image = await buildStage(t, 1, builder)
  t.same(readdirSync(image).sort(), ['data', 'node_modules', 'package.json', 'plugin', 'service'])
  for (const left of ['typescript', 'tap', 'playwright-core', 'eslint']) {
    t.notOk(existsSync(join(image, 'node_modules', left)), `${left} is left out`)
  }
  for (const needed of ['fastify', 'ioredis', 'lmdb']) t.ok(existsSync(join(image, 'node_modules', needed)), needed)
  const megabytes = readdirSync(image, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0) / 1024 / 1024
  t.ok(megabytes < 60, `${megabytes.toFixed(1)} MB in addition to Node`)

  const environment = {
    ...imageEnvironment(),
    PORT: `${await stablePort()}`,
    DATA_DIR: join(image, 'data'),
    JWT_SECRET: 'a secret of the tests, long enough for HS256'
  }
  const cmd = JSON.parse(one('CMD')) as string[]
  const service = run(t, 'env', ['-u', 'NODE_OPTIONS', '-C', image, ...cmd], environment)
  await service.until(({ err }) => err.includes('Publish:'))
  t.match(service.err, `listens on http://0.0.0.0:${environment.PORT} (events on disk, in ${image}/data)`)
  const [check = '', ...args] = JSON.parse(one('HEALTHCHECK').replace(/^.* CMD /, '')) as string[]
  const healthy = run(t, check, args, environment)
  t.equal(await healthy.exit(), 0, healthy.err)
  const open = run(t, 'env', ['-u', 'NODE_OPTIONS', '-C', image, ...cmd], {
    ...imageEnvironment(), DATA_DIR: join(image, 'data')
  })
  t.equal(await open.exit(), 1, 'without credentials it starts only with the option for it')
  t.match(open.err, 'OPEN_TO_ALL=yes if this is intended')
  service.kill(one('STOPSIGNAL') as NodeJS.Signals)
  t.equal(await service.exit(), 0)
  t.equal(await run(t, check, args, environment).exit(), 1, 'unhealthy when it has stopped')
})

/** The only instruction with this name in the last stage. */
function one (name: string): string {
  const [only, ...more] = readDockerfile().filter(instruction => instruction.stage === 1 && instruction.name === name)
  if (only === undefined || more.length > 0) throw new Error(`one ${name}`)
  return only.text
}

t.test('it runs as an unprivileged user, with variables and a port that exist', async t => {
  const environment = imageEnvironment()
  for (const name of Object.keys(environment)) t.ok(name === 'NODE_ENV' || Object.hasOwn(variables, name), name)
  t.equal(one('EXPOSE'), environment.PORT)
  t.equal(one('VOLUME'), environment.DATA_DIR)
  t.equal(one('USER'), 'node')
  t.match(one('RUN'), 'chown node:node data')
  const order = readDockerfile().map(({ name }) => name)
  t.ok(order.indexOf('USER') < order.lastIndexOf('CMD'))
  // Node 20 is no longer supported, and its HTTP/2 keeps connections open that violated the protocol.
  t.same(readDockerfile().filter(({ name }) => name === 'FROM').map(({ text }) => text), [
    'node:24-bookworm-slim AS build', 'node:24-bookworm-slim'
  ])
  for (const { text } of readDockerfile().filter(({ name, text }) => name === 'RUN' && /npm (ci|prune)/.test(text))) {
    t.match(text, '--ignore-scripts')
  }
})

t.test('both packages are copied, and nothing that the context excludes', async t => {
  const copied = readDockerfile()
    .filter(({ stage, name }) => stage === 0 && name === 'COPY')
    .flatMap(({ text }) => text.split(' ').slice(0, -1))
  const { workspaces } = JSON.parse(readDoc('package.json')) as { workspaces: string[] }
  t.same(copied.filter(path => !path.includes('.')).sort(), workspaces.sort())
  const lines = readDoc('.dockerignore').trim().split('\n').slice(1)
  t.same([...new Set(copied.map(path => path.split('/')[0]))].sort(), lines.filter(line => line.startsWith('!'))
    .map(line => line.slice(1))
    .sort())
  t.same(
    lines.filter(line => !line.startsWith('!')),
    workspaces.map(name => `${name}/dist`),
    'files built outside are not copied'
  )
})
