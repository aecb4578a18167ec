import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import type { Format } from 'esbuild'
import t from 'tap'
import { ROOT } from '../support/documents/markdown.ts'

const exec = promisify(execFile)

const PROGRAM = `
import fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'
async function main () {
  const app = fastify()
  await app.register(sse, { retryMs: false })
  await app.register(topics, { log: new MemoryLog() })
  const tick = { type: 'object', properties: { n: { type: 'number' } } }
  app.get('/', { sse: { events: { tick } } }, (request, reply) => reply.sse([{ event: 'tick', data: { n: 1, no: 2 } }]))
  const { body } = await app.inject({ url: '/', headers: { accept: 'text/html;q=0.9, text/*;q=0.5' } })
  const unguarded = fastify()
  unguarded.get('/', { grant: true }, () => 'open')
  await unguarded.register(sse)
  const { code } = await unguarded.ready().catch(error => error)
  console.log(JSON.stringify({ body, code }))
}
main()
`

/** Bundles the program, with all packages in one file, to a folder without `node_modules`. */
async function bundle (folder: string, format: Format, banner: string): Promise<string> {
  const outfile = join(folder, format === 'cjs' ? 'app.cjs' : 'app.mjs')
  await build({
    stdin: { contents: PROGRAM, resolveDir: ROOT },
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format,
    banner: { js: banner },
    conditions: ['resumable-sse-source'],
    logLevel: 'error',
    logOverride: { 'empty-import-meta': 'silent' }
  })
  return outfile
}

// Fastify and its packages are CommonJS.
const REQUIRE = "import { createRequire as r } from 'node:module'; const require = r(import.meta.url)"

// Regression: a CommonJS bundle, which is esbuild's default for Node, threw as soon as it was loaded; an ES module
// bundle failed for clients with an unusual Accept header only, and for event schemas.
for (const [format, banner] of [['cjs', ''], ['esm', REQUIRE]] as const) {
  t.test(`an application can be bundled with the library (${format})`, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const file = await bundle(folder, format, banner)
    const { stdout } = await exec(process.execPath, [file])
    t.same(JSON.parse(stdout), { body: ':\nevent: tick\ndata: {"n":1}\n\n', code: 'FST_SSE_UNGUARDED' })
  })
}
