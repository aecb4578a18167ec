import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createGzip } from 'node:zlib'
import type { Gzip } from 'node:zlib'
import { answerCalls } from './answers.ts'

/** As compressing middleware does it: a gzip stream for each client, flushed after each event. In memory. */
const clients = new Set<Gzip>()

const server = createServer((request, response) => {
  if (request.url!.startsWith('/publish')) void publish(request, response)
  else subscribe(response)
})

function subscribe (response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
  const gzip = createGzip()
  gzip.pipe(response)
  send(gzip, ':\n')
  clients.add(gzip)
  response.on('close', () => clients.delete(gzip))
}

async function publish (request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body: Buffer[] = []
  for await (const chunk of request) body.push(chunk as Buffer)
  for (const line of Buffer.concat(body).toString().split('\n')) {
    const frame = `id: ${Date.now()}-1\ndata: ${line}\n\n`
    for (const client of clients) send(client, frame)
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"0-0"}')
}

function send (gzip: Gzip, text: string): void {
  gzip.write(text)
  gzip.flush()
}

server.listen(0, '127.0.0.1', () => answerCalls(server))
