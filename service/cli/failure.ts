import { CommandError } from './command.ts'
import { ConfigError } from '../config/read-config.ts'

/** What fails when the service cannot listen: `bind` if it is a worker of a team. */
const LISTENING: readonly (string | undefined)[] = ['listen', 'bind']

/** How to fix such an error, by its code. */
const HINTS: Partial<Record<string, string>> = {
  EADDRINUSE: 'stop the program that listens there, or set PORT to another one',
  EADDRNOTAVAIL: 'set HOST to an address of this machine',
  EACCES: 'set PORT to 1024 or higher, or permit this user to listen on lower ports'
}

/**
 * Why the service cannot run, for the person who started it: a short explanation if that person can fix it (the
 * configuration, a port or folder in use, a system error), otherwise the stack.
 */
export function describeFailure (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof ConfigError || error instanceof CommandError) return error.message
  // The option of the library is a variable of the service. LMDB has numbers as codes.
  if (/^(?:TOPICS|FST_SSE_STORE)_/.test(String(code))) return error.message.replace(/^topics: option "folder"/, 'DATA_DIR')
  if (code === undefined || syscall === undefined) return error.stack ?? error.message
  const hint = LISTENING.includes(syscall) ? HINTS[code] : undefined
  return hint === undefined ? error.message : `${error.message}: ${hint}`
}
