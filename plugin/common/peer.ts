import { defineError } from './define-error.ts'
import { requirePackage } from './require.ts'

/**
 * A package that only one export or option needs is an optional peer dependency, which npm does not install
 * automatically.
 */
export const FST_SSE_MISSING_PACKAGE = defineError(
  'FST_SSE_MISSING_PACKAGE',
  '%s needs the package "%s": run "npm install %s"',
  500
)

/**
 * Loads an optional peer dependency. Throws `FST_SSE_MISSING_PACKAGE`, with the command that installs it, if it is
 * missing.
 */
export function requirePeer<T> (name: string, neededBy: string): T {
  try {
    return requirePackage(name) as T
  } catch (error) {
    throw toMissing(error, name, neededBy)
  }
}

/** The same for a module of this package that imports the peer dependency: the module is loaded only when needed. */
export async function importWithPeer<T> (name: string, neededBy: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    throw toMissing(error, name, neededBy)
  }
}

/** Any other error is returned unchanged: the package is installed, but something inside it failed. */
function toMissing (error: unknown, name: string, neededBy: string): unknown {
  const { code, message } = error as { code?: string, message?: string }
  const isAbsent = (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && message?.includes(`'${name}'`)
  return isAbsent ? Object.assign(new FST_SSE_MISSING_PACKAGE(neededBy, name, name), { cause: error }) : error
}
