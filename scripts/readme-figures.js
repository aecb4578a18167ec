// Copies the figures from docs/benchmarks.md into the table of the README, between its markers. Run by `npm run bench`.
import { readFileSync, writeFileSync } from 'node:fs'

const README = new URL('../README.md', import.meta.url)
const BENCHMARKS = new URL('../docs/benchmarks.md', import.meta.url)
const MARKED = /(<!-- figures: [^\n]*-->\n)[\s\S]*?(\n<!-- \/figures -->)/

/**
 * The last cell of the row with this name, in the section whose heading starts with this text; a dash if there is no
 * such row.
 */
function figure (benchmarks, heading, name) {
  const section = benchmarks.split('\n## ').find(text => text.startsWith(heading)) ?? ''
  const row = section.split('\n').find(line => line.startsWith(`| ${name} |`))
  return row?.split('|').at(-2).trim() ?? '–'
}

/** The table of the README, created from the text of docs/benchmarks.md. */
export function figuresTable (benchmarks) {
  const rows = {
    'million deliveries/s to 1,000 clients': 'Fan-out',
    'the same, while all of them resume': 'Resume storm',
    'KiB of heap and buffers for each idle client': 'Memory'
  }
  const names = ['ours', 'floor', '@fastify/sse']
  return [
    '| Median | this project, on Redis | bare Node server, no log | @fastify/sse, in memory |',
    '|---|---|---|---|',
    ...Object.entries(rows)
      .map(([title, heading]) => `| ${[title, ...names.map(name => figure(benchmarks, heading, name))].join(' | ')} |`)
  ].join('\n')
}

/** The README with the table replaced. */
export function withFigures (readme, benchmarks) {
  return readme.replace(MARKED, (match, start, end) => `${start}${figuresTable(benchmarks)}${end}`)
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(README, withFigures(readFileSync(README, 'utf8'), readFileSync(BENCHMARKS, 'utf8')))
}
