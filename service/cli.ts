#!/usr/bin/env node
import { main } from './cli/main.ts'

// `tail | head -1`: nobody reads on.
process.stdout.on('error', () => process.exit(0))

const code = await main(process.argv.slice(2), process.env, {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: new AbortController().signal
})
// What a start left open, as connections to Redis, would keep a process that failed to listen.
if (code !== undefined) process.exit(code)
