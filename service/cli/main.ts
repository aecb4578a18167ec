import cluster from 'node:cluster'
import { check } from './check.ts'
import { CommandError, UsageError } from './command.ts'
import type { Call, Command, Terminal } from './command.ts'
import { publish } from './commands/publish.ts'
import { tail } from './commands/tail.ts'
import { token } from './commands/token.ts'
import { ConfigError, readConfig, SWITCHES } from '../config/read-config.ts'
import { warningsOf } from '../config/warnings.ts'
import { describeFailure } from './failure.ts'
import { parseFlags, suggest } from './flags.ts'
import { describeAll, describeCommand } from './help.ts'
import { serve } from './serve.ts'
import { packageVersion } from '../version.ts'

type Env = Call['env']

/** All commands except `serve`, which also runs without a name. */
const COMMANDS: ReadonlyMap<string, Command> = new Map(Object.entries({ publish, tail, token }))

/** One call of `resumable-sse`. Resolves to the exit code, or to undefined while a service runs on. Never rejects. */
export async function main (argv: readonly string[], env: Env, terminal: Terminal): Promise<number | undefined> {
  const [first = '', ...rest] = argv
  try {
    if (first === 'serve') return await runService(rest, env, terminal)
    if (first === '' || first.startsWith('-')) return await runService(argv, env, terminal)
    const command = COMMANDS.get(first)
    if (command === undefined) {
      throw new UsageError(
        `unknown command ${JSON.stringify(first)}${suggest(first, ['serve', ...COMMANDS.keys()])}`
      )
    }
    return await runCommand(first, command, rest, env, terminal)
  } catch (error) {
    return fail(error, COMMANDS.has(first) ? ` ${first}` : '', terminal)
  }
}

async function runService (
  argv: readonly string[],
  env: Env,
  { stdout, stderr }: Terminal
): Promise<number | undefined> {
  const { switches } = parseFlags(argv, { values: [], switches: SWITCHES })
  if (switches.has('help')) return tell(stdout, describeAll(COMMANDS))
  if (switches.has('version')) return tell(stdout, `${packageVersion()}\n`)
  const config = readConfig(env, argv)
  const warn = (warning: string): void => { stderr.write(`resumable-sse: warning: ${warning}\n`) }
  if (cluster.isPrimary) warningsOf(config, env).forEach(warn)
  if (switches.has('check')) return tell(stdout, await check(config, warn))
  await serve(config, stderr)
  return undefined
}

async function runCommand (
  name: string,
  command: Command,
  argv: readonly string[],
  env: Env,
  terminal: Terminal
): Promise<number> {
  const flags = Object.entries(command.flags)
  const known = (isSwitch: boolean): string[] =>
    flags.filter(([, { value }]) => (value === undefined) === isSwitch).map(([flag]) => flag)
  const read = parseFlags(argv, { values: known(false), switches: ['help', ...known(true)] })
  if (read.problems.length > 0) throw new UsageError(read.problems.join('\n'))
  if (read.switches.has('help')) return tell(terminal.stdout, describeCommand(name, command))
  await command.run({ ...read, env }, terminal)
  return 0
}

function tell (stream: Terminal['stdout'], text: string): number {
  stream.write(text)
  return 0
}

/** Exit code 2 for a command line that cannot be understood, otherwise 1 unless the command says another one. */
function fail (error: unknown, command: string, { stderr }: Terminal): number {
  const isUsage = error instanceof UsageError || (error instanceof ConfigError && error.isUsage)
  const text = isUsage ? `${error.message}\nrun resumable-sse${command} --help for usage` : describeFailure(error)
  stderr.write(`resumable-sse: ${text}\n`)
  if (isUsage) return 2
  return error instanceof CommandError ? error.exitCode : 1
}
