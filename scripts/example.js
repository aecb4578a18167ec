// Runs a built example: `npm run example live-scores`. Lists them if called without a name.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const FOLDER = join(import.meta.dirname, '../dist/examples')
const [name = ''] = process.argv.slice(2)
const names = readdirSync(FOLDER).filter(name => existsSync(join(FOLDER, name, 'start.js'))).sort()

if (!names.includes(name)) {
  console.error(`usage: npm run example NAME, where NAME is one of:\n${names.map(name => `  ${name}\n`).join('')}`)
  process.exit(1)
}
await import(pathToFileURL(join(FOLDER, name, 'start.js')).href)
