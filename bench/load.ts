import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** Told to the load process: open connections, to the paths in turn, and say when each has received the marker so many times. */
export interface LoadOrder { port: number, paths: string[], lastEventId?: string, clients: number, marker: string, markers?: number }
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
      const markersIn = counter(order.marker)
      let seen = 0
      let isOpen = false
      socket.on('data', chunk => {
        bytes += chunk.length
        if (!isOpen) {
          isOpen = true
          if (++open === order.clients) tell({ kind: 'connected' })
        }
        const more = markersIn(chunk)
        seen += more
        if (more > 0 && seen === (order.markers ?? 1) && ++done === order.clients) resolve()
      })
      socket.on('error', error => { throw error })
      socket.write(`GET ${order.paths[count % order.paths.length]} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n${order.lastEventId === undefined ? '' : `Last-Event-ID: ${order.lastEventId}\r\n`}\r\n`)
    }
  })
  tell({ kind: 'done', bytes, finishedAt: Date.now() })
  for (const socket of sockets) socket.destroy()
}

/** Counts a marker, also where it is cut by a border of chunks. */
function counter (marker: string): (chunk: Buffer) => number {
  let rest = ''
  return chunk => {
    const head = chunk.subarray(0, marker.length - 1).toString('latin1')
    let count = (rest + head).includes(marker) ? 1 : 0
    for (let at = chunk.indexOf(marker); at !== -1; at = chunk.indexOf(marker, at + 1)) count++
    rest = chunk.subarray(-(marker.length - 1)).toString('latin1')
    return count
  }
}

function tell (news: LoadNews): void {
  process.send?.(news)
}

process.on('message', (order: LoadOrder) => { void run(order) })
