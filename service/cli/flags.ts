import { parseArgs } from 'node:util'
import { closestMatch } from 'leven'

/** Flag names without their dashes: those with a value, and switches. */
export interface FlagNames { values: readonly string[], switches: readonly string[] }

/** A parsed command line. */
export interface Flags {
  /** Values by flag; the last one wins if a flag is repeated. */
  values: ReadonlyMap<string, string>
  switches: ReadonlySet<string>
  /** Arguments that are not flags, in order. */
  others: readonly string[]
  /** What could not be understood; empty if everything was. */
  problems: readonly string[]
}

/**
 * Reads `--name value`, `--name=value` and `--name`; `-h` is `--help`, and nothing after `--` is a flag. Never throws.
 */
export function parseFlags (argv: readonly string[], names: FlagNames): Flags {
  // Not strict: strict mode stops at the first problem.
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
    return value === undefined ? undefined : `${rawName} accepts no value, saw ${JSON.stringify(value)}`
  }
  if (!values.includes(name)) return `unknown flag ${rawName}${suggest(name, [...values, ...switches], '--')}`
  if (value === undefined) return `${rawName} needs a value`
  // `--host --port 80`: the value is missing, and parseArgs has used the next flag as the value.
  return inlineValue === false && value.startsWith('--') ? `${rawName} needs a value, saw the flag ${value}` : undefined
}

/** `, did you mean …?` with the most similar name; empty if no name is similar. */
export function suggest (name: string, names: readonly string[], dashes = ''): string {
  const nearest = closestMatch(name, names, { maxDistance: Math.max(2, Math.ceil(name.length / 3)) })
  return nearest === undefined ? '' : `, did you mean ${dashes}${nearest}?`
}
