#!/usr/bin/env node
import { createRequire } from 'node:module'
import { exitOnSignals } from './cli/signals.ts'

// `tail | head -1`: the reader of stdout has gone.
process.stdout.on('error', () => process.exit(0))

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === '--version') {
  // Handled before anything else is loaded, as fast as Node starts: scripts and health checks call it often.
  const { version } = createRequire(import.meta.url)('resumable-sse/package.json') as { version: string }
  process.stdout.write(`${version}\n`)
} else {
  if (isService(args)) exitOnSignals()
  const { main } = await import('./cli/main.ts')
  const { stdin, stdout, stderr } = process
  const code = await main(args, process.env, { stdin, stdout, stderr, signal: new AbortController().signal })
  // Whatever a failed start left open, such as connections to Redis, would keep the process alive.
  if (code !== undefined) process.exit(code)
}

/** True for a command line that runs the service; the other commands end on a signal as any program does. */
function isService ([first = 'serve']: readonly string[]): boolean {
  return first === 'serve' || first.startsWith('-')
}
