import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../support/documents/markdown.ts'
import { exec, install, pack, project } from '../support/documents/packages.ts'

// Regression: the published declarations did not compile with `skipLibCheck: false`, the compiler's default: tsc had
// omitted a required import, types of packages that were not installed were used, and types that only the newest
// compiler or `@types/node` has. The repository itself never notices: it compiles its sources with `skipLibCheck`.

const COMPILERS = ['5.4', '5.9', '6.0', '7.0']
const MODULES = {
  node16: { module: 'node16' }, nodenext: { module: 'nodenext' }, bundler: { module: 'esnext', lib: ['es2022', 'dom'] }
}
/** Errors inside `@types/node` are not ours. */
const FOREIGN = /^(node_modules\/@types\/node\/|\s)/

const readConsumer = (): string => readFileSync(join(ROOT, 'test/install/consumer.ts'), 'utf8')

/** All exports, including those that need optional packages, and the service. */
const EVERYTHING = `
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { subscribe, subscribeNative } from 'fastify-resumable-sse/client'
import { RedisTokenStore } from 'fastify-resumable-sse/auth/redis'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { buildService, readConfig } from 'resumable-sse'
export const all = [sse, topics, subscribe, subscribeNative, RedisTokenStore, RedisLog, LmdbLog, buildService, readConfig]
`

function config (file: string, moduleResolution: keyof typeof MODULES, more: object = {}): string {
  const compilerOptions = {
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    target: 'es2022',
    types: ['node'],
    moduleResolution,
    ...MODULES[moduleResolution],
    ...more
  }
  return JSON.stringify({ compilerOptions, files: [file] })
}

/**
 * Compiles projects with one compiler in one process, which reads shared declarations once. Resolves to the errors in
 * our declarations.
 */
async function compile (folder: string, compiler: string, configs: readonly string[]): Promise<string[]> {
  const { code, out, err } = await exec(folder, process.execPath, [
    `node_modules/typescript-${compiler}/bin/tsc`, '--build', ...configs
  ])
  if (code !== 0 && out === '') throw new Error(`TypeScript ${compiler} did not run: ${err}`)
  return out.split('\n').filter(line => line !== '' && !FOREIGN.test(line))
}

/** Regression: the error named the overload without a source: "not assignable to parameter of type 'undefined'". */
const WRONG = `
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
interface Prices { price: { cents: number } }
const app = Fastify()
await app.register(sse)
app.get<{ Sse: Prices }>('/', (request, reply) => reply.sse([{ event: 'price', data: 'text' }]))
app.get<{ Sse: Prices }>('/generator', (request, reply) => reply.sse(async function * () { yield { event: 'prise', data: { cents: 1 } } }))
app.get('/options', (request, reply) => reply.sse('a', { retryMs: '1' }))
`
const WRONG_TOLD = [
  /^wrong\.ts\(7,.*Argument of type '\{ event: "price"; data: string; \}\[\]' is not assignable to parameter of type 'SseSource<Prices>/,
  /^wrong\.ts\(8,.*AsyncGenerator<\{ event: "prise"; data: \{ cents: number; \}; \}, void, unknown>' is not assignable to parameter of type 'SseSource<Prices>/,
  /^wrong\.ts\(9,.*Type 'string' is not assignable to type 'number \| false/
]

t.test('the declarations compile without skipLibCheck, with each TypeScript version, module resolution and age of @types/node', async t => {
  const library = (['node16', 'nodenext', 'bundler'] as const).map(resolution => [
    `tsconfig.${resolution}.json`, config('consumer.ts', resolution)
  ] as const)
  const folder = await project(t, {
    packages: [
      await pack(t, 'plugin'),
      'fastify@5',
      '@types/node@20',
      'types-node-newest@npm:@types/node@latest',
      ...COMPILERS.map(version => `typescript-${version}@npm:typescript@${version}`)
    ],
    files: {
      'consumer.ts': readConsumer(),
      'everything.ts': EVERYTHING,
      'wrong.ts': WRONG,
      'tsconfig.everything.json': config('everything.ts', 'nodenext'),
      'tsconfig.wrong.json': config('wrong.ts', 'nodenext', { skipLibCheck: true }),
      ...Object.fromEntries(library)
    }
  })
  const all = async (what: string, compilers: readonly string[], more: readonly string[] = []): Promise<void> => {
    await Promise.all(compilers.map(async compiler => {
      t.same(
        await compile(folder, compiler, [...library.map(([file]) => file), ...more]),
        [],
        `TypeScript ${compiler}, ${what}`
      )
    }))
  }
  await all('@types/node 20', COMPILERS)
  for (const compiler of ['5.4', '7.0']) {
    t.match(
      await compile(folder, compiler, ['tsconfig.wrong.json']),
      WRONG_TOLD,
      `TypeScript ${compiler} reports the error`
    )
  }

  await install(folder, [await pack(t, 'plugin'), await pack(t, 'service')])
  renameSync(join(folder, 'node_modules/@types/node'), join(folder, 'types-node-20'))
  renameSync(join(folder, 'node_modules/types-node-newest'), join(folder, 'node_modules/@types/node'))
  // The newest `@types/node` requires TypeScript 5.6 or later.
  await all('newest @types/node', COMPILERS.filter(version => version !== '5.4'), ['tsconfig.everything.json'])
})
