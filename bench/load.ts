import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** Told to the load process: open so many connections to a path, and say when each has received the marker. */
export interface LoadOrder { port: number, path: string, lastEventId?: string, clients: number, marker: string }
export type LoadNews = { kind: 'connected' } | { kind: 'done', bytes: number, finishedAt: number }

/**
 * The other end of every scenario: bare sockets that count bytes and look for a marker, in a process of its own, so that
 * the server under test has a core for itself.
 */
async function run (order: LoadOrder): Promise<void> {
  let bytes = 0
  let open = 0
  let done = 0
  const sockets: Socket[] = []
  await new Promise<void>(resolve => {
    for (let count = 0; count < order.clients; count++) {
      const socket = connect(order.port, '127.0.0.1')
      sockets.push(socket)
      let isOpen = false
      socket.on('data', chunk => {
        bytes += chunk.length
        if (!isOpen) {
          isOpen = true
          if (++open === order.clients) tell({ kind: 'connected' })
        }
        if (chunk.includes(order.marker) && ++done === order.clients) resolve()
      })
      socket.on('error', error => { throw error })
      socket.write(`GET ${order.path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n${order.lastEventId === undefined ? '' : `Last-Event-ID: ${order.lastEventId}\r\n`}\r\n`)
    }
  })
  tell({ kind: 'done', bytes, finishedAt: Date.now() })
  for (const socket of sockets) socket.destroy()
}

function tell (news: LoadNews): void {
  process.send?.(news)
}

process.on('message', (order: LoadOrder) => { void run(order) })
