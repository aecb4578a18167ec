import { createRequire } from 'node:module'

/** Version of the package, from its package.json. */
export function packageVersion (): string {
  const { version } = createRequire(import.meta.url)('resumable-sse/package.json') as { version: string }
  return version
}
