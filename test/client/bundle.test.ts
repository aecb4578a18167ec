import { relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'
import { ROOT } from '../support/documents/markdown.ts'

const KIB = 1024

interface Bundle { bytes: number, laterBytes: number, files: string[] }

/**
 * The built package, or its sources, bundled with code splitting: what a page loads initially, and what it loads when
 * tabs share a connection.
 */
async function bundle (
  names: string, { external = [], isSource = false }: { external?: string[], isSource?: boolean } = {}
): Promise<Bundle> {
  const contents = `import { ${names} } from 'fastify-resumable-sse/client'\nglobalThis.used = ${names}`
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: ROOT },
    external,
    conditions: isSource ? ['resumable-sse-source'] : [],
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    outdir: ROOT,
    absWorkingDir: ROOT,
    write: false,
    metafile: true
  })
  const atOnce = new Set<string>()
  const load = (path: string): void => {
    if (atOnce.has(path)) return
    atOnce.add(path)
    for (const { path: imported, kind, external = false } of metafile.outputs[path]!.imports) {
      if (kind === 'import-statement' && !external) load(imported)
    }
  }
  load(Object.keys(metafile.outputs).find(path => metafile.outputs[path]!.entryPoint === '<stdin>')!)
  const sizeOf = (isAtOnce: boolean): number => outputFiles
    .filter(({ path }) => atOnce.has(relative(ROOT, path)) === isAtOnce)
    .reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0)
  const files = [...atOnce]
    .flatMap(path => Object.entries(metafile.outputs[path]!.inputs))
    .flatMap(([path, { bytesInOutput }]) => bytesInOutput > 0 ? [path] : [])
  return { bytes: sizeOf(true), laterBytes: sizeOf(false), files }
}

t.test('the client is under 6 KiB, compressed and without its parser', async t => {
  const { bytes, laterBytes } = await bundle('subscribe', { external: ['eventsource-parser'] })
  t.comment(`${bytes} bytes, and ${laterBytes} for shareAcrossTabs`)
  t.ok(bytes < 6 * KIB, `${bytes}`)
})

t.test('the native client is smaller, and contains neither the parser nor fetch', async t => {
  const { bytes } = await bundle('subscribeNative')
  t.comment(`${bytes} bytes`)
  t.ok(bytes < 6 * KIB, `${bytes}`)
  const { files } = await bundle('subscribeNative', { isSource: true })
  t.notOk(files.some(file => /eventsource-parser|fetch-transport|line-ends/.test(file)), files.join(' '))
})

t.test('a bundle for pages contains nothing of Node, and of the server only the in-band events', async t => {
  const { files } = await bundle('subscribe', { isSource: true })
  const allowed = /^(plugin\/client\/|plugin\/common\/in-band\.ts$|node_modules\/eventsource-parser\/|<stdin>)/
  t.same(files.filter(file => !allowed.test(file)), [])
})
