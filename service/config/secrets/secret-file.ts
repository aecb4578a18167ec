import { readFileSync } from 'node:fs'
import { readableFile, unreadable } from '../variable.ts'

/**
 * Reads a file that contains a secret, without the line break at its end; `as` is the variable or flag that names it.
 */
export function readSecretFile (path: string, as: string): { text: string, as: string, problems?: readonly string[] } {
  if (readableFile(path) === undefined) {
    return {
      text: '',
      as,
      problems: [`${as} ${unreadable(path)[0]}`]
    }
  }
  return { text: readFileSync(path, 'utf8').replace(/\r?\n$/, ''), as }
}
