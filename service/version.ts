import { createRequire } from 'node:module'

/** Version of the package, as its package.json says. */
export function packageVersion (): string {
  const { version } = createRequire(import.meta.url)('resumable-sse/package.json') as { version: string }
  return version
}
