import type { Stage } from './stage.ts'

/**
 * One scenario: a file in scenarios/, listed in scenarios/index.ts. With its name as argument, `npm run bench` runs
 * only this one.
 */
export interface Scenario {
  name: string
  /** Heading of its section. */
  title: string
  /** What is measured, and how: one paragraph of Markdown. */
  about: string
  run: (stage: Stage) => Promise<Result>
}

export interface Result {
  tables: Table[]
  goals?: Goal[]
  charts?: Chart[]
}

/** Numeric cells are shown with up to three significant digits. */
export interface Table { columns: readonly string[], rows: ReadonlyArray<ReadonlyArray<string | number>> }

/** A measured value with a limit. */
export interface Goal {
  /** Number of the goal in the list at the top of the document, or a name. */
  id: string
  text: string
  figure: number
  /** The value must be at most, or at least, this. */
  limit: { atMost: number } | { atLeast: number }
  unit: string
}

/** Lines over a logarithmic x axis, written to docs/images/bench-<name>.svg. */
export interface Chart {
  name: string
  title: string
  x: string
  y: string
  series: Record<string, ReadonlyArray<readonly [x: number, y: number]>>
}

export function atMost (id: string, text: string, figure: number, limit: number, unit = ''): Goal {
  return { id, text, figure, limit: { atMost: limit }, unit }
}

export function atLeast (id: string, text: string, figure: number, limit: number, unit = ''): Goal {
  return { id, text, figure, limit: { atLeast: limit }, unit }
}

export function isMet ({ figure, limit }: Goal): boolean {
  return 'atMost' in limit ? figure <= limit.atMost : figure >= limit.atLeast
}

/** NaN for an empty list. */
export function median (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}
