import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'

/**
 * Connections in addition to the streams, for publishers, probes and connections that browsers open in advance: a
 * quarter more, and at least this many.
 */
const MIN_EXTRA = 1_000
/** File descriptors that the process needs for other things: the log, Redis, the console, standard streams. */
const RESERVED_FILES = 64
const LIMITS_FILE = '/proc/self/limits'
/** The line is logged at most once in this time, however many connections are closed. */
const QUIET_MS = 60_000

/**
 * Limits the connections of the process, and logs when the limit is reached: without a limit the system refuses file
 * descriptors, and nothing explains why clients cannot connect. `maxStreams` 0 means no limit.
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
      'connection limit reached, further connections are closed: ' +
          'raise MAX_STREAMS or the limit on open files (ulimit -n), or add an instance'
    )
  })
}

/** Infinity without a limit. */
export function connectionLimit (maxStreams: number, maxFiles: number | undefined): number {
  const byStreams = maxStreams === 0 ? Infinity : maxStreams + Math.max(MIN_EXTRA, Math.ceil(maxStreams / 4))
  const byFiles = maxFiles === undefined ? Infinity : Math.max(1, maxFiles - RESERVED_FILES)
  return Math.min(byStreams, byFiles)
}

/**
 * The soft limit of the process; undefined if the system does not report it (other than Linux), or if there is none.
 */
export function openFilesLimit (file = LIMITS_FILE): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync(file, 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}
