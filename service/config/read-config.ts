import { parseFlags } from '../cli/flags.ts'
import { variables } from './config.ts'
import type { ServiceConfig, VariableName } from './config.ts'
import { constraints } from './constraints.ts'
import { readSecretFile } from './secrets/secret-file.ts'
import type { Variable } from './variable.ts'

/** All problems with a configuration, reported at once. */
export class ConfigError extends Error {
  readonly problems: readonly string[]
  /** True when the command line has an unknown argument. */
  readonly isUsage: boolean

  constructor (problems: readonly string[], isUsage = false) {
    super(`invalid configuration:\n${problems.map(problem => `  - ${problem}`).join('\n')}`)
    this.problems = problems
    this.isUsage = isUsage
  }
}

const names = Object.keys(variables) as VariableName[]
const rows: Record<string, Variable> = variables

/**
 * Names of the variables that contain the path of a secret, such as `JWT_SECRET_FILE`, by the variable they replace.
 */
export const FILE_VARIABLES: ReadonlyMap<string, string> = new Map(
  names.filter(name => rows[name]!.isSecret).map(name => [name, `${name}_FILE`])
)

/** Flags without a value: they control the command and are not part of the configuration. */
export const SWITCHES = ['check', 'help', 'version'] as const

/** The flag of a variable, without its dashes: `MAX_EVENTS` is `max-events`. */
export const flagOf = (name: string): string => name.toLowerCase().replaceAll('_', '-')

type Env = Record<string, string | undefined>

/** Where values come from. */
interface Given { env: Env, flags: ReadonlyMap<string, string> }

/**
 * Reads the configuration from environment variables and, given a command line, from flags, which take precedence. An
 * empty variable counts as not set. Throws a `ConfigError` with all problems, each naming the variable or the flag.
 */
export function readConfig (env: Env, argv: readonly string[] = []): ServiceConfig {
  const flags = parseFlags(argv, { values: [...names, ...FILE_VARIABLES.values()].map(flagOf), switches: SWITCHES })
  const unknown = [...flags.problems, ...flags.others.map(other => `unknown argument ${JSON.stringify(other)}`)]
  const readings = names.map(name => readVariable(name, { env, flags: flags.values }))
  const config = Object.fromEntries(readings.map(({ property, value }) => [property, value])) as ServiceConfig
  if (config.redisUrl !== undefined && !env.LOG && !flags.values.has('log')) config.log = 'redis'
  const bad = readings.filter(({ problems }) => problems.length > 0)
  const problems = [
    ...unknown,
    ...bad.flatMap(({ problems }) => problems),
    ...brokenConstraints(config, new Set(bad.map(({ name }) => name)))
  ]
  if (problems.length > 0) throw new ConfigError(problems, unknown.length > 0)
  return config
}

interface Reading { name: VariableName, property: string, value: unknown, problems: readonly string[] }

/** A value as text, and where it came from: a variable, a flag or a file. */
interface Source { text: string, as: string, problems?: readonly string[] }

/** Reads one variable; no problems and no value if it is not set. */
export function readVariable (name: VariableName, given: Given): Reading {
  const { property, allowed, read, show = String, problems = () => [] } = rows[name]!
  const source = findSource(name, given)
  if (source === undefined || source.problems) {
    return { name, property, value: undefined, problems: source?.problems ?? [] }
  }
  const { text, as } = source
  const value = read(text)
  if (value !== undefined) return { name, property, value, problems: [] }
  const details = problems(text)
  return {
    name,
    property,
    value,
    problems: (details.length > 0 ? details : [`must be ${allowed}, saw ${JSON.stringify(show(text))}`]).map(
      problem => `${as} ${problem}`
    )
  }
}

/** The flag takes precedence over the variable, even if only one of them names a file. */
function findSource (name: VariableName, { env, flags }: Given): Source | undefined {
  const file = FILE_VARIABLES.get(name) ?? ''
  const { default: fallback, isSecret = () => false } = rows[name]!
  const [flag, fileFlag] = [flags.get(flagOf(name)), flags.get(flagOf(file))]
  if (flag !== undefined) {
    return isSecret(flag)
      ? {
          text: '',
          as: name,
          problems: [`--${flagOf(name)} would show a secret in the process list: set ${name} or ${file} instead`]
        }
      : { text: flag, as: `--${flagOf(name)}` }
  }
  if (fileFlag !== undefined) return readSecretFile(fileFlag, `--${flagOf(file)}`)
  if (env[name] && env[file]) {
    return { text: '', as: name, problems: [`${name} and ${file} are mutually exclusive: set one of them`] }
  }
  if (env[file]) return readSecretFile(env[file], file)
  const text = env[name] || fallback
  return text === undefined ? undefined : { text, as: name }
}

function brokenConstraints (config: ServiceConfig, bad: ReadonlySet<VariableName>): string[] {
  const asked = constraints.filter(({ among }) => !among.some(name => bad.has(name)))
  return asked.flatMap(({ problem }) => problem(config) ?? [])
}
