import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** The result is cached by content: every test is a separate process, and most load the same files. */
const KEPT = fileURLToPath(new URL('../../node_modules/.cache/type-stripping/', import.meta.url))

/** Loads a TypeScript module with its types blanked out, as Node 22.18 and later do. */
export async function load (url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
  const source = await readFile(fileURLToPath(url), 'utf8')
  const kept = `${KEPT}${createHash('sha256').update(source).digest('hex')}.js`
  const code = await readFile(kept, 'utf8').catch(() => strip(source, url, kept))
  return { format: 'module', source: code, shortCircuit: true }
}

async function strip (source, filename, kept) {
  const { transform } = await import('@swc/wasm-typescript')
  const { code } = await transform(source, { filename, mode: 'strip-only', module: true })
  await mkdir(KEPT, { recursive: true })
  // Another process may do the same: the file is complete, or does not exist.
  const own = `${kept}.${process.pid}`
  await writeFile(own, code)
  await rename(own, kept)
  return code
}
