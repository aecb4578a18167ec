import { parseArgs } from 'node:util'
import { closestMatch } from 'leven'

/** Names without their dashes: those that take a value, and those that stand alone. */
export interface FlagNames { values: readonly string[], switches: readonly string[] }

/** What a command line holds. */
export interface Flags {
  /** Values by flag; of a flag given twice the last. */
  values: ReadonlyMap<string, string>
  switches: ReadonlySet<string>
  /** What is no flag, in its order. */
  others: readonly string[]
  /** What was not understood; empty when all was. */
  problems: readonly string[]
}

/**
 * Reads `--name value`, `--name=value` and `--name`; `-h` is `--help`, and what follows `--` is no flag. Never throws.
 */
export function parseFlags (argv: readonly string[], names: FlagNames): Flags {
  // Not strict: that would stop at the first problem.
  const { tokens } = parseArgs({
    args: [...argv],
    options: optionsOf(names),
    strict: false,
    allowPositionals: true,
    tokens: true
  })
  const given = tokens.filter(token => token.kind === 'option')
  const problems = given.map(option => problemWith(option, names))
  const good = given.filter((option, at) => problems[at] === undefined)
  return {
    values: new Map(good.flatMap(({ name, value }) => value === undefined ? [] : [[name, value]])),
    switches: new Set(good.flatMap(({ name, value }) => value === undefined ? [name] : [])),
    others: tokens.flatMap(token => token.kind === 'positional' ? [token.value] : []),
    problems: problems.filter(problem => problem !== undefined)
  }
}

function optionsOf ({ values, switches }: FlagNames): Record<string, { type: 'string' | 'boolean', short?: string }> {
  const short = switches.includes('help') ? { help: { type: 'boolean' as const, short: 'h' } } : {}
  return {
    ...Object.fromEntries(values.map(name => [name, { type: 'string' as const }])),
    ...Object.fromEntries(switches.map(name => [name, { type: 'boolean' as const }])),
    ...short
  }
}

interface Option { name: string, rawName: string, value: string | undefined, inlineValue: boolean | undefined }

function problemWith (
  { name, rawName, value, inlineValue }: Option,
  { values, switches }: FlagNames
): string | undefined {
  if (switches.includes(name)) {
    return value === undefined ? undefined : `${rawName} takes no value, saw ${JSON.stringify(value)}`
  }
  if (!values.includes(name)) return `there is no flag ${rawName}${suggest(name, [...values, ...switches], '--')}`
  if (value === undefined) return `${rawName} needs a value`
  // `--host --port 80`: the value was forgotten, and parseArgs took the next flag for it.
  return inlineValue === false && value.startsWith('--') ? `${rawName} needs a value, saw the flag ${value}` : undefined
}

/** `, did you mean …?` with the name that comes nearest; nothing when none is near. */
export function suggest (name: string, names: readonly string[], dashes = ''): string {
  const nearest = closestMatch(name, names, { maxDistance: Math.max(2, Math.ceil(name.length / 3)) })
  return nearest === undefined ? '' : `, did you mean ${dashes}${nearest}?`
}
