import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import type { Test } from 'tap'
import { Inbox } from './inbox.ts'

/** A stream (or another response) as a client sees it over a real socket. */
export interface Opened {
  statusCode: number
  headers: http.IncomingHttpHeaders
  inbox: Inbox
  response: http.IncomingMessage
  request: http.ClientRequest
  /** Disconnects, like a browser tab that is closed. */
  close: () => void
}

/** Sends a request through node:http on a separate connection; settles when the head of the response has arrived. */
export async function open (
  t: Test,
  url: string,
  { body, ...options }: http.RequestOptions & { body?: string } = {}
): Promise<Opened> {
  const { request: ask } = url.startsWith('https:') ? https : http
  const request = ask(url, {
    agent: false, rejectUnauthorized: false, headers: { accept: 'text/event-stream' }, ...options
  })
  t.teardown(() => { request.destroy() })
  request.end(body)
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  const inbox = new Inbox()
  request.on('error', () => {})
  response.on('error', () => {})
  response.on('data', (chunk: Buffer) => inbox.add(chunk))
  response.on('close', () => inbox.end())
  return {
    statusCode: response.statusCode ?? 0,
    headers: response.headers,
    inbox,
    response,
    request,
    close: () => {
      request.destroy()
    }
  }
}

/** The complete response to one request. */
export async function fetchAll (
  t: Test,
  url: string,
  options: http.RequestOptions & { body?: string } = {}
): Promise<Opened & { text: string }> {
  const opened = await open(t, url, options)
  return { ...opened, text: await opened.inbox.ended() }
}

/** A bare TCP connection, or a TLS connection if the origin is https, for things that no well-behaved client does. */
export interface Bare {
  socket: net.Socket
  inbox: Inbox
  send: (text: string | Uint8Array) => void
}

export async function connect (t: Test, origin: string): Promise<Bare> {
  const bare = await dial(origin)
  t.teardown(() => { bare.socket.destroy() })
  return bare
}

/** The same for the frames of HTTP/2, over TLS. */
export async function connectHttp2 (t: Test, origin: string): Promise<Bare> {
  const bare = await dial(origin, 'h2')
  t.teardown(() => { bare.socket.destroy() })
  return bare
}

/** The same for a test that opens so many connections that it must destroy each itself. */
export async function dial (origin: string, alpn?: string): Promise<Bare> {
  const { protocol, hostname, port } = new URL(origin)
  const at = { host: hostname, port: Number(port), allowHalfOpen: true }
  const socket = protocol === 'https:'
    ? tls.connect({ ...at, rejectUnauthorized: false, ...alpn === undefined ? {} : { ALPNProtocols: [alpn] } })
    : net.connect(at)
  const inbox = new Inbox()
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => inbox.add(chunk))
  socket.on('end', () => { socket.end() })
  socket.on('close', () => inbox.end())
  await once(socket, protocol === 'https:' ? 'secureConnect' : 'connect')
  return { socket, inbox, send: text => { socket.write(text) } }
}

/** The text of a GET request. */
export function get (path: string, { version = '1.1', method = 'GET', headers = '' } = {}): string {
  return `${method} ${path} HTTP/${version}\r\nHost: localhost\r\n${headers}\r\n`
}

/** A client that sends its request and then reads nothing until asked to. */
export async function stall (
  t: Test,
  origin: string,
  path: string,
  options: { method?: string, headers?: string } = {}
): Promise<Bare> {
  const client = await connect(t, origin)
  client.socket.pause()
  client.send(get(path, options))
  return client
}
