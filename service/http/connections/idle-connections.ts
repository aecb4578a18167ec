import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * Keeps connections with responses that have not been sent completely when the server closes. Node closes those that it
 * considers idle at that moment: also one whose response has been written but is still being sent, as large responses
 * are for a while, together with the responses that wait behind it.
 */
export function spareBusy ({ server }: FastifyInstance, busy: () => Iterable<Socket>): void {
  const closeIdle = server.closeIdleConnections as (() => void) | undefined
  // A server of HTTP/2 alone.
  if (closeIdle === undefined) return
  server.closeIdleConnections = () => {
    const spared = [...busy()]
    for (const socket of spared) socket.destroy = () => socket
    closeIdle.call(server)
    for (const socket of spared) Reflect.deleteProperty(socket, 'destroy')
  }
}
