import type { Http2Session, ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'

/** How long a client may take to send a request, in ms. A stream is a response and may last. */
export interface Timeouts {
  /**
   * From the opening of a connection to the end of the head of its first request; for later requests from their first
   * byte.
   */
  headMs: number
  /**
   * From the first byte of a request to the last byte of its body, and again until a page of history was taken. The
   * largest batch needs 1.1 Mbit/s.
   */
  requestMs: number
  /**
   * How long a connection may stay open between two requests, and how long an HTTP/2 client may take to answer a ping.
   */
  idleMs: number
  /** Interval at which connections are checked; a timeout is noticed at most this much later. */
  checkMs: number
}

export const TIMEOUTS: Timeouts = { headMs: 60_000, requestMs: 120_000, idleMs: 72_000, checkMs: 10_000 }

/**
 * Applies the timeouts to the server, for any protocol. Node checks the requests of HTTP/1.1 (including connections
 * that never send one), but with TLS Fastify passes it no timeouts. Node has none for HTTP/2: sessions without streams
 * are closed here, and the time of a body is limited where it is read, see `gateBodies`.
 */
export function applyTimeouts (app: FastifyInstance, timeouts: Timeouts, counts: ConnectionCounts): void {
  const { headMs, requestMs, idleMs, checkMs } = timeouts
  Object.assign(app.server, {
    headersTimeout: headMs,
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    connectionsCheckingInterval: checkMs
  })
  const sweep = sweepSessions(app, idleMs, counts)
  const timer = setInterval(() => sweep(performance.now()), checkMs).unref()
  app.addHook('onClose', async () => { clearInterval(timer) })
}

/** An HTTP/2 session: its open streams, and since when it has had none. */
interface Usage { streams: number, idleSince: number, isClosing: boolean, pingedAt: number | undefined }

/** Closes sessions without streams, and destroys those that are not closed by the next check. */
function sweepSessions (app: FastifyInstance, idleMs: number, counts: ConnectionCounts): (now: number) => void {
  const usages = new Map<Http2Session, Usage>()
  app.server.on('session', (session: Http2Session) => {
    const usage: Usage = { streams: 0, idleSince: performance.now(), isClosing: false, pingedAt: undefined }
    usages.set(session, usage)
    session.once('close', () => usages.delete(session))
    session.on('stream', (stream: ServerHttp2Stream) => {
      usage.streams++
      stream.once('close', () => {
        usage.streams--
        usage.idleSince = performance.now()
      })
    })
  })
  return now => {
    for (const [session, usage] of usages) {
      if (usage.streams > 0) checkSession(session, usage, { now, idleMs, counts })
      else if (now - usage.idleSince >= idleMs) endSession(session, usage, counts)
    }
  }
}

/**
 * Pings the client of open streams, and destroys the session if it does not answer. Otherwise a vanished client is
 * noticed only when TCP gives up, and before Node 22.23 never after a malformed frame: Node then sends GOAWAY, stops
 * reading, and reports nothing.
 */
function checkSession (
  session: Http2Session,
  usage: Usage,
  { now, idleMs, counts }: { now: number, idleMs: number, counts: ConnectionCounts }
): void {
  if (usage.pingedAt === undefined) {
    usage.pingedAt = now
    // With an error the session is destroyed, and not checked again.
    session.ping(() => { usage.pingedAt = undefined })
  } else if (now - usage.pingedAt >= idleMs) {
    counts.cut('silent')
    session.destroy()
    // It waits for a peer that reads nothing; the socket itself may only be disposed of, not destroyed.
    void Promise.allSettled([session.socket?.[Symbol.asyncDispose]()])
  }
}

function endSession (session: Http2Session, usage: Usage, counts: ConnectionCounts): void {
  if (usage.isClosing) return session.destroy()
  usage.isClosing = true
  counts.cut('idle')
  session.close()
}
