import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** Accessible only to the owner. */
const MODE = 0o700

/**
 * Creates a private folder and the missing ones above it; does nothing if it exists. Throws the system error. Node's
 * own `recursive` never returns below a folder that reports a new one as missing, such as /proc.
 */
export function makeFolder (folder: string): void {
  if (isFolder(folder)) return
  const parent = dirname(resolve(folder))
  if (!existsSync(parent)) makeFolder(parent)
  try {
    mkdirSync(folder, { mode: MODE })
  } catch (error) {
    // Another process may have created it meanwhile.
    if (!isFolder(folder)) throw error
  }
}

function isFolder (path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
