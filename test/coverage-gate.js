// The coverage gate, by room: tap's own knows only one bound for all. Run after the tests, on the summary they leave.
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

/** Percent of lines and branches that each room must reach, over all its files together. */
const GATES = {
  'plugin/topics': { lines: 99, branches: 96 },
  plugin: { lines: 99.8, branches: 99.6 },
  service: { lines: 100, branches: 99.6 }
}

const summary = JSON.parse(readFileSync('.tap/report/coverage-summary.json', 'utf8'))
const files = Object.entries(summary).filter(([file]) => file !== 'total').map(([file, counts]) => ({ file: relative('.', file), counts }))
const problems = []

/** The first room in the list that a file lies in: the inner rooms stand before the outer ones. */
function roomOf (file) {
  return Object.keys(GATES).find(room => file.startsWith(`${room}/`))
}

for (const [room, gate] of Object.entries(GATES)) {
  const inRoom = files.filter(({ file }) => roomOf(file) === room)
  for (const [kind, bound] of Object.entries(gate)) {
    const total = inRoom.reduce((sum, { counts }) => sum + counts[kind].total, 0)
    const covered = inRoom.reduce((sum, { counts }) => sum + counts[kind].covered, 0)
    const percent = total === 0 ? 0 : 100 * covered / total
    console.log(`${room}: ${percent.toFixed(2)} % of ${kind}, at least ${bound} %`)
    if (percent >= bound) continue
    const lacking = inRoom.filter(({ counts }) => counts[kind].covered < counts[kind].total).map(({ file }) => file)
    problems.push(`${room} has ${percent.toFixed(2)} % of its ${kind} covered, not ${bound} %: ${lacking.join(', ') || 'no test reaches it'}`)
  }
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
