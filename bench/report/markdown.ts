import { isMet } from '../scenario.ts'
import type { Goal, Result, Scenario, Table } from '../scenario.ts'

/** A scenario and its result. */
export interface Finished { scenario: Scenario, result: Result }

/** One section of the document. */
export function section ({ scenario: { title, about }, result }: Finished): string {
  const { tables, goals = [], charts = [] } = result
  return [
    `## ${title}`,
    about,
    ...tables.map(table),
    ...goals.map(goal => `${sentence(goal)}.`),
    ...charts.map(({ name, title }) => `![${title}](images/bench-${name}.svg)`)
  ].join('\n\n')
}

/** All goals with the measured values. */
export function goalTable (finished: readonly Finished[]): string {
  const goals = finished.flatMap(({ result }) => result.goals ?? []).sort((a, b) => a.id.localeCompare(b.id))
  return table({
    columns: ['Goal', 'What', 'Figure', 'Limit', 'Met'],
    rows: goals.map(goal => [
      goal.id, goal.text, withUnit(goal.figure, goal), limitOf(goal), isMet(goal) ? 'yes' : '**no**'
    ])
  })
}

function sentence (goal: Goal): string {
  return `Goal ${goal.id}: ${goal.text}: ${withUnit(goal.figure, goal)} (limit: ${limitOf(goal)}) — ` +
    (isMet(goal) ? 'met' : '**not met**')
}

function limitOf (goal: Goal): string {
  const { limit } = goal
  return 'atMost' in limit ? `≤ ${withUnit(limit.atMost, goal)}` : `≥ ${withUnit(limit.atLeast, goal)}`
}

function withUnit (value: number, { unit }: Goal): string {
  return `${shown(value)} ${unit}`.trim()
}

function table ({ columns, rows }: Table): string {
  const line = (cells: ReadonlyArray<string | number>): string =>
    `| ${cells.map(cell => typeof cell === 'number' ? shown(cell) : cell).join(' | ')} |`
  return [line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)].join('\n')
}

/** Formats a number with three significant digits; a dash for NaN. */
export function shown (value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}
