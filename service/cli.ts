#!/usr/bin/env node
import { createRequire } from 'node:module'
import { catchSignals, exitOnSignals } from './cli/signals.ts'

process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  // `tail | head -1`: the reader of stdout has gone.
  if (code === 'EPIPE') process.exit(0)
  process.stderr.write(`resumable-sse: stdout: ${message}\n`)
  process.exit(1)
})

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === '--version') {
  // Handled before anything else is loaded, as fast as Node starts: scripts and health checks call it often.
  const { version } = createRequire(import.meta.url)('resumable-sse/package.json') as { version: string }
  process.stdout.write(`${version}\n`)
} else {
  if (isService(args)) exitOnSignals()
  const { main } = await import('./cli/main.ts')
  const { stdin, stdout, stderr } = process
  // A message that cannot be printed, such as on a full disk, must not end a service, nor change an exit code.
  stderr.on('error', () => {})
  const { signal } = new AbortController()
  const code = await main(args, process.env, { stdin, stdout, stderr, signal, catchSignals })
  // Whatever a failed start left open, such as connections to Redis, would keep the process alive. An error of stdout
  // is reported first.
  if (code !== undefined) setImmediate(() => process.exit(code))
}

/** True for a command line that runs the service; the other commands end on a signal as any program does. */
function isService ([first = 'serve']: readonly string[]): boolean {
  return first === 'serve' || first.startsWith('-')
}
