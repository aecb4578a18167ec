// The page as it is served: its modules and the library's client are bundled into one file, next to the page and its
// style sheet.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = new URL('.', import.meta.url)
const target = new URL('../dist/console/', here)

const { outputFiles: [script] } = await build({
  entryPoints: [fileURLToPath(new URL('main.ts', here))],
  write: false,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'eof'
})
const files = { 'console.js': script.contents }
for (const name of ['index.html', 'console.css']) files[name] = await readFile(new URL(name, here))

await mkdir(target, { recursive: true })
for (const [name, content] of Object.entries(files)) {
  // A service that starts in the meantime reads the old file or the new one, never part of a file.
  const temporary = new URL(`.${name}.${process.pid}`, target)
  await writeFile(temporary, content)
  await rename(temporary, new URL(name, target))
}
