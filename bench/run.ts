import { parseArgs } from 'node:util'
import { writeDocument } from './report/document.ts'
import { section } from './report/markdown.ts'
import type { Finished } from './report/markdown.ts'
import { scenarios } from './scenarios/index.ts'
import { Stage } from './stage.ts'

/**
 * `npm run bench` runs all scenarios and writes docs/benchmarks.md; `npm run bench -- NAME…` runs some of them and only
 * prints. `--smoke` runs with small numbers to check that everything works, and writes nothing. `--out FOLDER` writes
 * into that folder.
 */
const { values, positionals } = parseArgs({
  options: { smoke: { type: 'boolean', default: false }, out: { type: 'string' } },
  allowPositionals: true
})
const known = scenarios.map(({ name }) => name)
const unknown = positionals.filter(name => !known.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`unknown scenario ${unknown.join(', ')}; there are ${known.join(', ')}\n`)
  process.exit(2)
}
const isWhole = positionals.length === 0 && !values.smoke
const folder = values.out ?? (isWhole ? 'docs' : undefined)

const stage = await Stage.start(values.smoke)
const finished: Finished[] = []
try {
  for (const scenario of scenarios) {
    if (positionals.length > 0 && !positionals.includes(scenario.name)) continue
    const one = { scenario, result: await scenario.run(stage) }
    finished.push(one)
    process.stdout.write(`${section(one)}\n\n`)
  }
} finally {
  await stage.stop()
}
if (folder !== undefined) writeDocument(folder, finished, stage.missing)
