import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Why a connection was closed that held no stream: it was idle, its client answered no ping, it pipelined behind a stream, or there were too many. */
export type CutReason = 'idle' | 'silent' | 'pipelining' | 'limit'

/** The connections of this process, for its metrics. */
export class ConnectionCounts {
  readonly #open: ReadonlySet<Socket>
  /** Connections that were closed because of a limit, by reason. */
  readonly closed = new Map<CutReason, number>()

  constructor (app: FastifyInstance) {
    this.#open = opened<Socket>(app, 'connection')
  }

  get open (): number { return this.#open.size }

  cut (reason: CutReason): void {
    this.closed.set(reason, (this.closed.get(reason) ?? 0) + 1)
  }
}

/**
 * Makes `app.close()` end within `drainMs`, as it promises for streams. Node's own `close` waits a minute and more for
 * connections on which nothing was sent yet (browsers and HTTP clients open such ahead), and minutes for a request that
 * does not come to its end. Call it before anything that closes.
 */
export function boundClose (app: FastifyInstance, drainMs: number): void {
  // With TLS a connection is there twice: as the bytes of the network, and as those inside.
  const sockets = opened<Socket>(app, 'connection', 'secureConnection')
  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
    timer = setTimeout(() => { for (const socket of sockets) socket.destroy() }, drainMs)
  })
  app.addHook('onClose', async () => { clearTimeout(timer) })
}

/**
 * Ends HTTP/2 sessions when what closes before is closed: a session that is idle would hold `app.close()` up to its bound.
 * Fastify's `forceCloseConnections` does it too, but it cuts requests of HTTP/1.1 on the same port.
 */
export function closeSessions (app: FastifyInstance): void {
  const sessions = opened<Http2Session>(app, 'session')
  app.addHook('preClose', async () => { for (const session of sessions) session.close() })
}

/** Those that a server has open, told by its events. */
function opened<T extends Socket | Http2Session> (app: FastifyInstance, ...events: string[]): ReadonlySet<T> {
  const open = new Set<T>()
  for (const event of events) {
    app.server.on(event, (each: T) => {
      open.add(each)
      each.once('close', () => open.delete(each))
    })
  }
  return open
}
