import type { Readable, Writable } from 'node:stream'
import type { Flags } from './flags.ts'

/** Where a command reads and writes: results go to stdout, everything else to stderr. */
export interface Terminal {
  stdin: Readable
  stdout: Writable
  stderr: Writable
  /** Ends a command that would otherwise keep running; never aborts if Ctrl-C ends the process. */
  signal: AbortSignal
  /**
   * From this call on SIGINT and SIGTERM abort the signal that it returns, with their name as the reason, instead of
   * ending the process; a second one ends it.
   */
  catchSignals: () => AbortSignal
}

/** One flag of a command, as `--help` shows it. */
export interface FlagHelp {
  /** Placeholder for its value; undefined for a switch. */
  value: string | undefined
  meaning: string
}

/** A parsed command line, and the environment. */
export interface Call extends Flags { env: Record<string, string | undefined> }

/** A subcommand of `resumable-sse`. */
export interface Command {
  /** The arguments after its name: `TOPIC [DATA]`. */
  usage: string
  /** What it does, in one line. */
  summary: string
  flags: Record<string, FlagHelp>
  /** Resolves when the work is done; rejects with a `UsageError` or the error that occurred. */
  run: (call: Call, terminal: Terminal) => Promise<void>
}

/** The command failed; the message explains why to the person who ran it. */
export class CommandError extends Error {
  readonly exitCode: number

  constructor (message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** A command line that cannot be understood. */
export class UsageError extends CommandError {
  constructor (message: string) { super(message, 2) }
}

/** The flags of every command that connects to a running service. */
export const CLIENT_FLAGS = {
  url: { value: 'URL', meaning: 'URL of the service; default RESUMABLE_SSE_URL, else http://127.0.0.1:8080.' },
  token: {
    value: 'TOKEN',
    meaning: 'Sent as Authorization: Bearer; default RESUMABLE_SSE_TOKEN, which the process list does not show.'
  }
} satisfies Record<string, FlagHelp>

/** Where requests go, and the headers that they need. */
export interface Service { urlOf: (path: string) => string, headers: Record<string, string> }

/**
 * The service that a command line refers to: a function that returns the URL of a path, and the headers of its
 * requests. Throws a `UsageError`.
 */
export function serviceOf ({ values, env }: Call): Service {
  const text = values.get('url') ?? (env.RESUMABLE_SSE_URL || 'http://127.0.0.1:8080')
  const url = /^https?:/.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw new UsageError(`--url must be an http or https URL, saw ${JSON.stringify(text)}`)
  if (url.username !== '' || url.password !== '') {
    throw new UsageError('--url must not contain a user name or password: set RESUMABLE_SSE_TOKEN')
  }
  return {
    urlOf: path => text.replace(/\/$/, '') + path,
    headers: headersWith((values.get('token') ?? env.RESUMABLE_SSE_TOKEN ?? '').trim())
  }
}

/** The message does not contain the token. */
function headersWith (token: string): Record<string, string> {
  if (token === '') return {}
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new UsageError(
      '--token must contain only printable ASCII characters without spaces: ' +
        'pass the token alone, without "Bearer" or line breaks'
    )
  }
  return { authorization: `Bearer ${token}` }
}
