// Usage: node scripts/print-failures.js FILE
// Prints the failed assertions of a captured TAP output, each with the names of its tests and its diagnostics.
import { readFileSync } from 'node:fs'

const MAX_LINES_EACH = 60
const lines = readFileSync(process.argv[2], 'utf8').split('\n')
const indentOf = (line) => line.length - line.trimStart().length

/** The names of the tests that enclose a line: the "# Subtest" lines above it, each with a smaller indentation. */
function testsAround (index) {
  const names = []
  let indent = indentOf(lines[index])
  for (let at = index; at >= 0 && indent > 0; at--) {
    const name = /^\s*# Subtest: (.*)$/.exec(lines[at])?.[1]
    if (name === undefined || indentOf(lines[at]) >= indent) continue
    names.unshift(name)
    indent = indentOf(lines[at])
  }
  return names
}

/** The failure and the YAML block below it. */
function failureAt (index) {
  const rest = lines.slice(index, index + MAX_LINES_EACH)
  const end = rest.findIndex((line, at) => at > 0 && (line.trim() === '...' || (at > 1 && /^\s*(not )?ok /.test(line))))
  return rest.slice(0, end === -1 ? rest.length : end)
}

const failed = lines.flatMap((line, index) => /^\s*not ok /.test(line) ? [index] : [])
console.log(`\nFailed assertions and the tests around them: ${failed.length}`)
for (const index of failed) console.log([`\n${testsAround(index).join(' > ')}`, ...failureAt(index)].join('\n'))
