import { format } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'

const LEVELS = { debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error' } as const
/** The same text is logged once in this time: LMDB prints an error for each write on a full disk. */
const REPEAT_MS = 60_000

/**
 * Turns whatever libraries print with `console` into log lines, so that the log stays JSON. Only for a process that
 * nothing else shares.
 */
export function logLibraryOutput (logger: FastifyBaseLogger, now: () => number = () => performance.now()): void {
  let last = { text: '', at: 0 }
  for (const [method, level] of Object.entries(LEVELS) as [
    keyof typeof LEVELS,
    (typeof LEVELS)[keyof typeof LEVELS]
  ][]) {
    console[method] = (...values: unknown[]) => {
      const text = format(...values)
      if (text === last.text && now() - last.at < REPEAT_MS) return
      last = { text, at: now() }
      logger[level]({ output: text }, 'printed by a library')
    }
  }
}
