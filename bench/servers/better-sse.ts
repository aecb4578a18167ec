import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { answerCalls } from './answers.ts'

/** The part of its API that is used: a channel that broadcasts to sessions. */
interface BetterSse {
  createSession: (request: IncomingMessage, response: ServerResponse, options: object) => Promise<object>
  createChannel: () => { register: (session: object) => void, broadcast: (data: unknown) => void }
}

/** better-sse with a channel on node:http, as in its README. Data is already text and is not serialized again. */
const name = 'better-sse'
const { createSession, createChannel } = await import(name) as BetterSse
const channel = createChannel()
const sessionOptions = { serializer: (data: string) => data }

const server = createServer((request, response) => {
  void (request.url!.startsWith('/publish') ? publish(request, response) : subscribe(request, response))
})

async function subscribe (request: IncomingMessage, response: ServerResponse): Promise<void> {
  channel.register(await createSession(request, response, sessionOptions))
}

async function publish (request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body: Buffer[] = []
  for await (const chunk of request) body.push(chunk as Buffer)
  for (const data of Buffer.concat(body).toString().split('\n')) channel.broadcast(data)
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"0"}')
}

server.listen(0, '127.0.0.1', () => answerCalls(server))
