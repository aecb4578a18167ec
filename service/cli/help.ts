import { variables } from '../config/config.ts'
import { FILE_VARIABLES, flagOf } from '../config/read-config.ts'
import type { Command } from './command.ts'
import type { Variable } from '../config/variable.ts'

/** The text without the backticks and links of the documentation. */
const plain = (text: string): string => text.replaceAll('`', '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')

/** Sections of `--help`: a variable belongs to the first section with a prefix of its name. */
const GROUPS: readonly [title: string, beginnings: readonly string[]][] = [
  [
    'Where it listens',
    [
      'HOST', 'PORT', 'TLS_', 'WORKERS', 'CORS_', 'TRUST_', 'ALLOWED_HOSTS', 'CONSOLE', 'HEARTBEAT_', 'GZIP_',
      'LOG_LEVEL'
    ]
  ],
  [
    'Where events are kept, and for how long',
    ['LOG', 'DATA_DIR', 'DURABILITY', 'MAX_EVENTS', 'MAX_AGE', 'EXPIRE_AFTER', 'RETENTION', 'IDEMPOTENCY_']
  ],
  ['Redis', ['REDIS_', 'PREFIX', 'REPLICAS', 'REPLICAS_', 'CANARY_', 'PROBE_']],
  ['Who may publish and subscribe', ['JWT_', 'JWKS_', 'COOKIE_', 'PROXY_', 'OPEN_TO_ALL']],
  ['Limits', ['MAX_', 'PUBLISH_RATE']],
  ['Shutdown', ['DRAIN_']],
  ['Other', ['']]
]

const EXAMPLES = `Examples:
  resumable-sse --port 9000 --max-events 1000
  REDIS_URL=redis://127.0.0.1:6379 JWT_SECRET_FILE=/run/secrets/jwt resumable-sse --host 0.0.0.0
  REDIS_URL=redis+sentinel://a:26379,b:26379/main resumable-sse --check
  resumable-sse tail news`

/** `resumable-sse --help`: the commands, and every variable with its flag. */
export function describeAll (commands: ReadonlyMap<string, Command>): string {
  return [
    'resumable-sse [serve] [flags]: the service. Each flag can also be set as an environment variable.',
    'If both are set, the flag takes precedence.',
    '',
    ...[...commands].map(([name, { usage, summary }]) => `resumable-sse ${name} ${usage}: ${summary}`),
    '',
    EXAMPLES,
    '',
    '  --check      Check the configuration and the log, print the result and exit: 0 if all is well, otherwise 1.',
    '  --help, -h   Print this; after a command, the help of that command.',
    '  --version    Print the version.',
    '',
    ...GROUPS.flatMap(describeGroup)
  ].join('\n')
}

function describeGroup (group: (typeof GROUPS)[number]): string[] {
  const rows = Object.entries<Variable>(variables).filter(([name]) => groupOf(name) === group)
  return rows.length === 0 ? [] : [`${group[0]}:`, '', ...rows.flatMap(describeVariable), '']
}

function groupOf (name: string): (typeof GROUPS)[number] {
  return GROUPS.find(([, beginnings]) =>
    beginnings.some(beginning =>
      beginning.endsWith('_') || beginning === '' ? name.startsWith(beginning) : name === beginning
    )
  )!
}

function describeVariable ([name, { default: fallback, allowed, meaning }]: [string, Variable]): string[] {
  const file = FILE_VARIABLES.get(name)
  return [
    `  --${flagOf(name)}, ${name}`,
    ...(file === undefined
      ? []
      : [`  --${flagOf(file)}, ${file} (a file that contains it; the process list would show a secret in a flag)`]),
    `      ${plain(meaning)}`,
    `      ${allowed}; ${fallback === undefined ? 'no default' : `default ${fallback}`}.`
  ]
}

/** The help of one command. */
export function describeCommand (name: string, { usage, summary, flags }: Command): string {
  const rows = Object.entries(flags).map(
    ([flag, { value, meaning }]) => [`--${flag}${value === undefined ? '' : ` ${value}`}`, meaning] as const
  )
  const width = Math.max(...rows.map(([flag]) => flag.length))
  return [
    `resumable-sse ${name} ${usage}: ${summary}`,
    '',
    ...rows.map(([flag, meaning]) => `  ${flag.padEnd(width)}  ${meaning}`),
    ''
  ].join('\n')
}
