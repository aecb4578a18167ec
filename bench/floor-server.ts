import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerMemory, frameOf } from './workload.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/**
 * The floor: a bare node:http server that writes one shared Buffer per client per turn of the loop, and keeps no log.
 * What it cannot do (resume, order over instances, durability) costs it nothing; no server on Node can be faster.
 */
const clients = new Set<ServerResponse>()
let replay: Buffer | undefined

const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(':\n')
  if (request.url === '/replay' && replay) response.write(replay)
  else clients.add(response)
  response.on('close', () => clients.delete(response))
})

async function publish ({ events, batch, marker }: Extract<ServerOrder, { kind: 'publish' | 'prepare' }>): Promise<void> {
  for (let sent = 0; sent < events; sent += batch) {
    const frames = Buffer.concat(Array.from({ length: batch }, (_, at) => frameOf(sent + at + 1, sent + at + 1 === events ? marker : undefined)))
    const full: Promise<void>[] = []
    for (const client of clients) {
      if (!client.write(frames) && client.writableLength > 256 * 1024) full.push(new Promise(resolve => client.once('drain', () => resolve())))
    }
    // The slowest sets the pace here; nothing is kept for anybody.
    await Promise.all(full)
    await new Promise(resolve => setImmediate(resolve))
  }
}

process.on('message', (order: ServerOrder) => {
  if (order.kind === 'prepare') {
    replay = Buffer.concat(Array.from({ length: order.events }, (_, at) => frameOf(at + 1, at + 1 === order.events ? order.marker : undefined)))
    tell({ kind: 'prepared', lastEventId: undefined })
  } else if (order.kind === 'publish') {
    void publish(order)
  } else if (order.kind === 'memory') {
    void answerMemory()
  }
})

function tell (news: ServerNews): void {
  process.send?.(news)
}

server.listen(0, '127.0.0.1', () => tell({ kind: 'listening', port: (server.address() as AddressInfo).port }))
