import { createRequire } from 'node:module'
import { defineError } from './define-error.ts'

/** A package that is needed only by one export or option is an optional peer, which npm does not install by itself. */
export const FST_SSE_MISSING_PACKAGE = defineError(
  'FST_SSE_MISSING_PACKAGE',
  '%s needs the package "%s": run "npm install %s"',
  500
)

const require = createRequire(import.meta.url)

/** Loads an optional peer. Throws `FST_SSE_MISSING_PACKAGE`, with the command that installs it, when it is absent. */
export function requirePeer<T> (name: string, neededBy: string): T {
  try {
    return require(name) as T
  } catch (error) {
    throw toMissing(error, name, neededBy)
  }
}

/** The same for a module of this package that imports the peer: it is loaded only when it is needed. */
export async function importWithPeer<T> (name: string, neededBy: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    throw toMissing(error, name, neededBy)
  }
}

/** Other errors pass: the package is there, and something inside it fails. */
function toMissing (error: unknown, name: string, neededBy: string): unknown {
  const { code, message } = error as { code?: string, message?: string }
  const isAbsent = (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && message?.includes(`'${name}'`)
  return isAbsent ? Object.assign(new FST_SSE_MISSING_PACKAGE(neededBy, name, name), { cause: error }) : error
}
