import { constants } from 'node:http2'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'

/** How long a client may take to send a request, in ms. A stream is a response and has no such limit. */
export interface Timeouts {
  /**
   * From the opening of a connection to the end of the head of its first request; for later requests from their first
   * byte.
   */
  headMs: number
  /**
   * From the first byte of a request to the last byte of its body, and again until the client has read a large
   * response. The largest batch needs 1.1 Mbit/s. Also how long the client of a smaller response may read nothing.
   */
  requestMs: number
  /**
   * How long a connection may stay open between two requests, and how long an HTTP/2 client may take to answer a ping.
   */
  idleMs: number
  /** How long the client of a live publish may send nothing. */
  silentMs: number
  /** Interval at which connections are checked; a timeout is noticed at most this much later. */
  checkMs: number
}

export const TIMEOUTS: Timeouts = {
  headMs: 60_000,
  requestMs: 120_000,
  idleMs: 72_000,
  silentMs: 600_000,
  checkMs: 10_000
}

/** The longest delay of a Node timer. */
const MAX_TIMER_MS = 2_147_483_647

export interface TimeoutsInit {
  /** How long an event stream, or a publish that waits for replicas, may be silent. */
  heartbeatMs: number
  replicasTimeoutMs: number
  connections: ConnectionCounts
}

/**
 * Applies the timeouts to the server, for any protocol. Node checks the requests of HTTP/1.1 (including connections
 * that never send one), but with TLS Fastify passes it no timeouts. Node has none for HTTP/2: sessions without streams
 * are closed here, and the time of a body is limited where it is read, see `bodyGate`.
 */
export function applyTimeouts (app: FastifyInstance, timeouts: Timeouts, init: TimeoutsInit): void {
  const { headMs, requestMs, idleMs, checkMs } = timeouts
  Object.assign(app.server, {
    // Applies if nothing was received and no pending data was sent. Heartbeats keep event streams from reaching it.
    timeout: Math.min(MAX_TIMER_MS, Math.max(requestMs, 2 * init.heartbeatMs, 2 * init.replicasTimeoutMs)),
    headersTimeout: headMs,
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    connectionsCheckingInterval: checkMs
  })
  const sweep = sweepSessions(app, timeouts, init.connections)
  const timer = setInterval(() => sweep(performance.now()), checkMs).unref()
  app.addHook('onClose', async () => { clearInterval(timer) })
}

/** An HTTP/2 session: its open streams with the times at which they were opened, and since when it has had none. */
interface Usage {
  streams: Map<ServerHttp2Stream, number>
  idleSince: number
  isClosing: boolean
  pingedAt: number | undefined
}

/**
 * Closes sessions without streams, and destroys those that are not closed by the next check. Cancels responses that
 * their clients do not read.
 */
function sweepSessions (
  app: FastifyInstance,
  { idleMs, requestMs }: Timeouts,
  counts: ConnectionCounts
): (now: number) => void {
  const usages = new Map<Http2Session, Usage>()
  app.server.on('session', (session: Http2Session) => {
    const usage: Usage = { streams: new Map(), idleSince: performance.now(), isClosing: false, pingedAt: undefined }
    usages.set(session, usage)
    session.once('close', () => usages.delete(session))
    session.on('stream', (stream: ServerHttp2Stream) => {
      usage.streams.set(stream, performance.now())
      stream.once('close', () => {
        usage.streams.delete(stream)
        usage.idleSince = performance.now()
      })
    })
  })
  return now => {
    for (const [session, usage] of usages) {
      for (const [stream, openedAt] of usage.streams) {
        // The request itself may have taken as long.
        if (now - openedAt >= 2 * requestMs && isUntaken(stream)) cancel(stream, counts)
      }
      if (usage.streams.size > 0) checkSession(session, usage, { now, idleMs, counts })
      else if (now - usage.idleSince >= idleMs) endSession(session, usage, counts)
    }
  }
}

/**
 * True for a response that the service has written completely but the client has not read: the client opens no
 * flow-control window, but answers pings. Event streams are excluded, because they are watched separately.
 */
function isUntaken ({ writableEnded, sentHeaders }: ServerHttp2Stream): boolean {
  return writableEnded && sentHeaders?.['content-type'] !== 'text/event-stream'
}

function cancel (stream: ServerHttp2Stream, counts: ConnectionCounts): void {
  counts.cut('slow')
  stream.close(constants.NGHTTP2_CANCEL)
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
    // An error destroys the session, which is then no longer checked.
    session.ping(() => { usage.pingedAt = undefined })
  } else if (now - usage.pingedAt >= idleMs) {
    counts.cut('silent')
    session.destroy()
    // Otherwise it waits for a peer that reads nothing; the socket of a session may only be disposed of, not destroyed.
    void Promise.allSettled([session.socket?.[Symbol.asyncDispose]()])
  }
}

function endSession (session: Http2Session, usage: Usage, counts: ConnectionCounts): void {
  if (usage.isClosing) return session.destroy()
  usage.isClosing = true
  counts.cut('idle')
  session.close()
}
