import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * Closes what would hold `app.close()` although nobody waits for an answer there: connections that never sent a byte (browsers and HTTP
 * clients open such ahead; Node 20 waits 70 s for them) and idle HTTP/2 sessions. Called when the streams are over.
 */
export function watchSpareConnections (app: FastifyInstance): () => void {
  // With TLS a connection exists twice: the bytes of the network, and those inside.
  const sockets = opened<Socket>(app, 'connection', 'secureConnection')
  const sessions = opened<Http2Session>(app, 'session')
  return () => {
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
    for (const session of sessions) session.close()
  }
}

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
