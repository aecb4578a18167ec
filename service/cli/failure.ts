import { CommandError } from './command.ts'
import { ConfigError } from '../config/read-config.ts'

/** How to fix a system error, by its code. */
const HINTS: Partial<Record<string, string>> = {
  EADDRINUSE: 'stop the program that listens there, or set PORT to another one',
  EADDRNOTAVAIL: 'set HOST to an address of this machine'
}

/**
 * Why the service cannot run, for the person who started it: a short explanation if that person can fix it (the
 * configuration, a port or folder in use, a system error), otherwise the stack.
 */
export function describeFailure (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof ConfigError || error instanceof CommandError || code?.startsWith('TOPICS_')) return error.message
  if (code === undefined || syscall === undefined) return error.stack ?? error.message
  const hint = HINTS[code]
  return hint === undefined ? error.message : `${error.message}: ${hint}`
}
