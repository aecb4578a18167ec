import type { FastifyLoggerOptions } from 'fastify'
import { Inbox } from './clients/inbox.ts'

/** Options of a Fastify logger that writes into an inbox, as lines of JSON. */
export function logInto (log: Inbox, level: string): FastifyLoggerOptions {
  return { level, stream: { write: (line: string) => { log.add(Buffer.from(line)) } } }
}

/** The lines of a log that contain this text, parsed. */
export function linesWith (log: Inbox, text: string): Record<string, unknown>[] {
  return log.text
    .split('\n')
    .filter(line => line.includes(text))
    .map(line => JSON.parse(line) as Record<string, unknown>)
}
