import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Why a connection without a stream was closed: it was idle, its client did not answer a ping or did not read its
 * response, it pipelined requests after a stream, or there were too many connections.
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
 * Makes `app.close()` finish within `drainMs`, as promised for streams. The plugin closes connections that are idle or
 * wait for the rest of a request; all other requests belong to the service here, and are aborted too.
 */
async function addCloseLimit (app: FastifyInstance, { drainMs }: { drainMs: number }): Promise<void> {
  const sockets = opened(app)
  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    timer = setTimeout(() => { for (const socket of sockets) socket.destroy() }, drainMs)
  })
  app.addHook('onClose', async () => { clearTimeout(timer) })
}

export const closeLimit = fp(addCloseLimit, { name: 'service-close-limit' })

/** The open connections of the server; with TLS the sockets underneath. */
function opened (app: FastifyInstance): ReadonlySet<Socket> {
  const open = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  return open
}
