import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * Why a connection was closed that held no stream: it was idle, its client answered no ping, its client did not take
 * its response, it pipelined behind a stream, or there were too many.
 */
export type CutReason = 'idle' | 'silent' | 'slow' | 'pipelining' | 'limit'

/** The connections of this process, for its metrics. */
export class ConnectionCounts {
  readonly #open: ReadonlySet<Socket>
  /** Connections that were closed because of a limit, by reason. */
  readonly closed = new Map<CutReason, number>()

  constructor (app: FastifyInstance) {
    this.#open = opened(app)
  }

  get open (): number { return this.#open.size }

  cut (reason: CutReason): void {
    this.closed.set(reason, (this.closed.get(reason) ?? 0) + 1)
  }
}

/**
 * Makes `app.close()` end within `drainMs`, as promised for streams. The plugin closes connections that are idle or
 * wait for the rest of a request; here every other request belongs to the service, and is aborted too. Call it before
 * anything else that closes.
 */
export function boundClose (app: FastifyInstance, drainMs: number): void {
  const sockets = opened(app)
  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    timer = setTimeout(() => { for (const socket of sockets) socket.destroy() }, drainMs)
  })
  app.addHook('onClose', async () => { clearTimeout(timer) })
}

/** The open connections of the server; with TLS the sockets below them. */
function opened (app: FastifyInstance): ReadonlySet<Socket> {
  const open = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  return open
}
