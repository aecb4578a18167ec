import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'

/**
 * Connections beyond the streams, for publishers, probes and what browsers open ahead: a quarter more, and at least
 * this many.
 */
const MIN_EXTRA = 1_000
/** File descriptors that the process needs for other things: the log, Redis, the console, standard streams. */
const RESERVED_FILES = 64
const LIMITS_FILE = '/proc/self/limits'
/** The log line is written once in this time, however many connections are refused. */
const QUIET_MS = 60_000

/**
 * Bounds the connections of the process, and says in the log when the bound is reached: without one the system refuses
 * file descriptors, and nothing tells why clients cannot connect. `maxStreams` 0 stands for any number.
 */
export function limitConnections (app: FastifyInstance, maxStreams: number, counts: ConnectionCounts): void {
  const maxConnections = connectionLimit(maxStreams, openFilesLimit())
  app.server.maxConnections = maxConnections
  let quietUntil = 0
  app.server.on('drop', () => {
    counts.cut('limit')
    if (performance.now() < quietUntil) return
    quietUntil = performance.now() + QUIET_MS
    app.log.warn(
      { maxConnections },
      'the process has as many connections as it may, further ones are closed: raise MAX_STREAMS or the limit on open files (ulimit -n), or add an instance'
    )
  })
}

/** Infinity when nothing bounds them. */
export function connectionLimit (maxStreams: number, maxFiles: number | undefined): number {
  const byStreams = maxStreams === 0 ? Infinity : maxStreams + Math.max(MIN_EXTRA, Math.ceil(maxStreams / 4))
  const byFiles = maxFiles === undefined ? Infinity : Math.max(1, maxFiles - RESERVED_FILES)
  return Math.min(byStreams, byFiles)
}

/** The soft limit of the process; undefined where the system does not say (other than Linux), or there is none. */
export function openFilesLimit (file = LIMITS_FILE): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync(file, 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}
