import type { Readable, Writable } from 'node:stream'
import type { Flags } from './flags.ts'

/** Where a command reads and writes: results to stdout, all else to stderr. */
export interface Terminal {
  stdin: Readable
  stdout: Writable
  stderr: Writable
  /** Ends a command that would go on; never aborted where Ctrl-C ends the process. */
  signal: AbortSignal
}

/** One flag of a command, as `--help` tells it. */
export interface FlagHelp {
  /** The word that stands for its value; undefined for a switch. */
  value: string | undefined
  meaning: string
}

/** A command line that was understood, and the environment. */
export interface Call extends Flags { env: Record<string, string | undefined> }

/** A subcommand of `resumable-sse`. */
export interface Command {
  /** What stands behind its name: `TOPIC [DATA]`. */
  usage: string
  /** What it does, in one line. */
  summary: string
  flags: Record<string, FlagHelp>
  /** Settles when its work is done; rejects with a `UsageError` or with what went wrong. */
  run: (call: Call, terminal: Terminal) => Promise<void>
}

/** A command could not do its work, and its message says why to the one who ran it. */
export class CommandError extends Error {}

/** A command line that no command takes: exit code 2. */
export class UsageError extends CommandError {}

/** The flags of every command that talks to a running service. */
export const CLIENT_FLAGS = {
  url: { value: 'URL', meaning: 'Where the service is; default RESUMABLE_SSE_URL, else http://127.0.0.1:8080.' },
  token: {
    value: 'TOKEN',
    meaning: 'Sent as Authorization: Bearer; default RESUMABLE_SSE_TOKEN, which does not show in the list of processes.'
  }
} satisfies Record<string, FlagHelp>

/**
 * Where a command line says the service is: the URL of a path, and the headers of its requests. Throws a `UsageError`.
 */
export function serviceOf ({ values, env }: Call): { urlOf: (path: string) => string, headers: Record<string, string> } {
  const text = values.get('url') ?? (env.RESUMABLE_SSE_URL || 'http://127.0.0.1:8080')
  const url = /^https?:/.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw new UsageError(`--url must be an http or https URL, saw ${JSON.stringify(text)}`)
  if (url.username !== '' || url.password !== '') {
    throw new UsageError('--url must not hold a user or a password: set RESUMABLE_SSE_TOKEN')
  }
  return {
    urlOf: path => text.replace(/\/$/, '') + path,
    headers: headersWith((values.get('token') ?? env.RESUMABLE_SSE_TOKEN ?? '').trim())
  }
}

/** The message does not show the token. */
function headersWith (token: string): Record<string, string> {
  if (token === '') return {}
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new UsageError(
      '--token must hold nothing but printable ASCII characters without blanks: is it the token alone, without "Bearer" and line ends?'
    )
  }
  return { authorization: `Bearer ${token}` }
}
