import { flagOf, variables } from '../config/config.ts'
import type { Command } from './command.ts'
import type { Variable } from '../config/variable.ts'

/** For the README `code` stands in backticks; a terminal shows them as they are. */
const plain = (text: string): string => text.replaceAll('`', '')

/** `resumable-sse --help`: the commands, and every variable with its flag. */
export function describeAll (commands: ReadonlyMap<string, Command>): string {
  return [
    'resumable-sse [serve] [flags]: the service. Each flag is an environment variable, too; the flag wins.',
    '',
    ...[...commands].map(([name, { usage, summary }]) => `resumable-sse ${name} ${usage}: ${summary}`),
    '',
    '  --check      Say what it would do, reach the log, and exit: 0 when all is well, else 1.',
    '  --help, -h   This; behind a command, that command\'s.',
    '  --version    The version.',
    '',
    ...Object.entries<Variable>(variables).flatMap(describeVariable),
    ''
  ].join('\n')
}

function describeVariable ([name, { default: fallback, allowed, meaning }]: [string, Variable]): string[] {
  return [
    `  --${flagOf(name)}, ${name}`,
    `      ${plain(meaning)}`,
    `      ${allowed}; ${fallback === undefined ? 'no default' : `default ${fallback}`}.`
  ]
}

/** The help of one command. */
export function describeCommand (name: string, { usage, summary, flags }: Command): string {
  const rows = Object.entries(flags).map(([flag, { value, meaning }]) => [`--${flag}${value === undefined ? '' : ` ${value}`}`, meaning] as const)
  const width = Math.max(...rows.map(([flag]) => flag.length))
  return [`resumable-sse ${name} ${usage}: ${summary}`, '', ...rows.map(([flag, meaning]) => `  ${flag.padEnd(width)}  ${meaning}`), ''].join('\n')
}
