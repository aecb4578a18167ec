import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { answerCalls } from './answers.ts'

/**
 * The floor: a bare node:http server that writes one shared buffer, already framed as an HTTP chunk, to the socket of
 * each client, once per tick of the event loop. It has no log, no ordering across processes and no limits; no server on
 * Node can be faster.
 */
interface Topic { clients: Set<ServerResponse>, pending: Buffer[], kept: Buffer[], replay: Buffer | undefined }
const topics = new Map<string, Topic>()
const dirty = new Set<Topic>()
let events = 0

const server = createServer((request, response) => {
  const url = new URL(request.url!, 'http://localhost')
  const names = url.searchParams.getAll('topic')
  if (url.pathname === '/publish') void publish(names, url.searchParams.has('keep'), request, response)
  else subscribe(names, request, response)
})

function subscribe (names: readonly string[], request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(':\n')
  for (const name of names) {
    const topic = topicOf(name)
    const isBehind = request.headers['last-event-id'] !== undefined && topic.kept.length > 0
    // Joined once for all clients, so that this server writes a prepared buffer.
    if (isBehind) response.socket!.write(topic.replay ??= chunkOf(topic.kept))
    topic.clients.add(response)
    response.on('close', () => topic.clients.delete(response))
  }
}

async function publish (
  [name = '']: readonly string[],
  isKept: boolean,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const body: Buffer[] = []
  for await (const chunk of request) body.push(chunk as Buffer)
  const topic = topicOf(name)
  topic.replay = undefined
  for (const line of Buffer.concat(body).toString().split('\n')) {
    const frame = Buffer.from(`id: ${STARTED}-${++events}\ndata: ${line}\n\n`)
    if (isKept) topic.kept.push(frame)
    else topic.pending.push(frame)
  }
  if (dirty.size === 0) setImmediate(flush)
  dirty.add(topic)
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"0-0"}')
}

const STARTED = Date.now()

function flush (): void {
  for (const topic of dirty) {
    dirty.delete(topic)
    if (topic.pending.length === 0) continue
    const chunk = chunkOf(topic.pending.splice(0))
    for (const client of topic.clients) client.socket?.write(chunk)
  }
}

function chunkOf (frames: readonly Buffer[]): Buffer {
  const size = frames.reduce((sum, { length }) => sum + length, 0)
  return Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), ...frames, Buffer.from('\r\n')])
}

function topicOf (name: string): Topic {
  const topic = topics.get(name) ?? { clients: new Set(), pending: [], kept: [], replay: undefined }
  topics.set(name, topic)
  return topic
}

server.listen(0, '127.0.0.1', () => answerCalls(server))
