// Builds the modules that a package exports, from its sources; code that they share goes into chunks. A program that
// imports the package thus opens a few files instead of dozens. tsc writes the declarations.
//
//   node scripts/bundle.js FOLDER
import { copyFileSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

/** Lua scripts are read from the folder of the module that needs them, which is part of this export. */
const SCRIPTS = { './auth/redis': 'auth/one-time/scripts', './topics/redis': 'topics/log/redis/scripts' }

const [folder = '.'] = process.argv.slice(2)
const dist = join(folder, 'dist')
const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

const { metafile } = await build({
  entryPoints: Object.values(exports).flatMap(each => each['resumable-sse-source'] ?? []),
  absWorkingDir: join(process.cwd(), folder),
  outdir: 'dist',
  outbase: '.',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'es2023',
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: 'warning'
})

for (const [name, scripts] of Object.entries(SCRIPTS)) {
  for (const script of readdirSync(join(folder, scripts)).filter(file => file.endsWith('.lua'))) {
    copyFileSync(join(folder, scripts, script), join(folder, dirname(exports[name].default), script))
  }
}

// Files of an earlier build go last, because a program may be using them.
const built = new Set(Object.keys(metafile.outputs))
for (const file of readdirSync(dist, { recursive: true })) {
  if (/\.js(\.map)?$/.test(file) && !built.has(join('dist', file))) rmSync(join(dist, file))
}
