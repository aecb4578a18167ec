// The coverage gate by folder: tap supports only one limit for everything. Run it after the tests; it reads their
// summary.
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

/** Percentage of lines and branches that each folder must reach, over all of its files. */
const GATES = {
  'plugin/topics': { lines: 99, branches: 96 },
  plugin: { lines: 99.8, branches: 99.6 },
  service: { lines: 100, branches: 99.6 }
}

const summary = JSON.parse(readFileSync('.tap/report/coverage-summary.json', 'utf8'))
const files = Object.entries(summary)
  .filter(([file]) => file !== 'total')
  .map(([file, counts]) => ({ file: relative('.', file), counts }))
const problems = []

/** The first matching folder in the list: inner folders are listed before outer ones. */
function folderOf (file) {
  return Object.keys(GATES).find(folder => file.startsWith(`${folder}/`))
}

for (const [folder, gate] of Object.entries(GATES)) {
  const inside = files.filter(({ file }) => folderOf(file) === folder)
  for (const [kind, bound] of Object.entries(gate)) {
    const total = inside.reduce((sum, { counts }) => sum + counts[kind].total, 0)
    const covered = inside.reduce((sum, { counts }) => sum + counts[kind].covered, 0)
    const percent = total === 0 ? 0 : 100 * covered / total
    console.log(`${folder}: ${percent.toFixed(2)} % of ${kind}, at least ${bound} %`)
    if (percent >= bound) continue
    const lacking = inside.filter(({ counts }) => counts[kind].covered < counts[kind].total).map(({ file }) => file)
    problems.push(
      `${folder} has ${percent.toFixed(2)} % of its ${kind} covered, not ${bound} %: ${lacking.join(', ') || 'no test reaches it'}`
    )
  }
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
