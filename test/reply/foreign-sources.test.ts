import t from 'tap'
import http from 'node:http'
import { once } from 'node:events'
import type { EventEmitter } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { SseSource } from '../../plugin/index.ts'
import { buildApp, listen } from '../support/apps/app.ts'
import { fetchAll, open } from '../support/clients/client.ts'
import { deferred } from '../../plugin/common/deferred.ts'

// Regression: streams that other packages create instead of Node's own classes were tested with `instanceof`: they were
// rejected, or accepted and never released. When 50 clients had left streams of `readable-stream`, 50 sources stayed
// open, and so did one for each HEAD and each 406.

interface Upstream { url: string, cut: () => void, over: Promise<unknown> }

/** A server that sends one event and keeps its response open; `over` settles when its client has disconnected. */
async function upstream (t: Test): Promise<Upstream> {
  const over = deferred<unknown>()
  const sockets = new Set<{ destroy: () => void }>()
  const server = http.createServer((request, response) => {
    sockets.add(request.socket)
    response.on('close', () => over.settle('left'))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`, cut: () => { for (const socket of sockets) socket.destroy() }, over: over.promise
  }
}

/** A source of a foreign class, how to make it fail midway, and when it is released. */
interface Foreign { source: SseSource, fail: () => void, released: Promise<unknown> }

const load = (name: string): Promise<unknown> => import(name)

type Fetch = (url: string) => Promise<SseSource>

async function responseOf (t: Test, fetch: Fetch): Promise<Foreign> {
  const { url, cut, over } = await upstream(t)
  return { source: await fetch(url), fail: cut, released: over }
}

interface ForeignReadable extends EventEmitter { push: (item: unknown) => void, destroy: (error?: Error) => void }
type ReadableClass = new (options: {
  objectMode: boolean, read: () => void
}) => ForeignReadable & AsyncIterable<{ data: string }>
interface StreamInit {
  start: (controller: { enqueue: (item: unknown) => void, error: (error: Error) => void }) => void
  cancel: () => void
}
type ReadableStreamClass = new (init: StreamInit) => ReadableStream<{ data: string }>

const KINDS: Record<string, (t: Test) => Promise<Foreign>> = {
  'a Response of undici': async t => responseOf(t, ((await load('undici')) as { fetch: Fetch }).fetch),
  'a Response of node-fetch 3': async t => responseOf(t, ((await load('node-fetch')) as { default: Fetch }).default),
  'a Response of node-fetch 2': async t => {
    const { source, fail } = await responseOf(t, ((await load('node-fetch2')) as { default: Fetch }).default)
    // It forwards nothing to its connection, only to its body, as docs/plugin.md says.
    const released = once((source as unknown as { body: ForeignReadable }).body, 'close').then(
      () => 'destroyed',
      () => 'destroyed'
    )
    return { source, fail, released }
  },
  'a Readable of readable-stream': async () => {
    const { Readable } = await load('readable-stream') as { Readable: ReadableClass }
    const readable = new Readable({ objectMode: true, read () {} })
    const released = deferred<unknown>()
    readable.once('close', () => released.settle('destroyed'))
    readable.push({ data: 'first' })
    return { source: readable, fail: () => { readable.destroy(new Error('it broke')) }, released: released.promise }
  },
  'a ReadableStream of web-streams-polyfill': async () => {
    const { ReadableStream } = await load('web-streams-polyfill') as { ReadableStream: ReadableStreamClass }
    const released = deferred<unknown>()
    let fail!: (error: Error) => void
    const source = new ReadableStream({
      start (controller) {
        fail = error => { controller.error(error) }
        controller.enqueue({ data: 'first' })
      },
      cancel () { released.settle('cancelled') }
    })
    return { source, fail: () => { fail(new Error('it broke')) }, released: released.promise }
  }
}

const HOWS: Record<string, (source: SseSource) => SseSource> = {
  directly: source => source,
  'from a function without parameters': source => (() => source) as SseSource,
  'from an async function with the stream': source => (async (stream: unknown) => stream && source) as SseSource,
  'as a promise': source => Promise.resolve(source) as SseSource
}

for (const [kind, make] of Object.entries(KINDS)) {
  t.test(`${kind} is streamed, and released when the client leaves`, async t => {
    for (const [how, wrap] of Object.entries(HOWS)) {
      const { source, released } = await make(t)
      const app = await buildApp(t)
      app.get('/', (request, reply) => reply.sse(wrap(source)))
      const { inbox, close, statusCode } = await open(t, await listen(app))
      t.equal(statusCode, 200, how)
      await inbox.until('data: first\n\n')
      close()
      t.type(await released, 'string', how)
    }
  })

  t.test(`${kind}: its error arrives in band`, async t => {
    for (const [how, wrap] of Object.entries(HOWS)) {
      const { source, fail } = await make(t)
      const app = await buildApp(t)
      app.get('/', (request, reply) => reply.sse(wrap(source)))
      const { inbox } = await open(t, await listen(app))
      await inbox.until('data: first\n\n')
      fail()
      t.match(
        await inbox.ended(),
        /data: first\n\n(:\n)*event: stream\.error\ndata: \{.*"statusCode":50\d.*\}\n\n$/,
        how
      )
    }
  })

  t.test(`${kind} is released when it is not streamed: HEAD and 406`, async t => {
    for (const [options, status] of [[{ method: 'HEAD' }, 200], [{ headers: { accept: 'text/html' } }, 406]] as const) {
      const { source, released } = await make(t)
      const app = await buildApp(t)
      app.get('/', (request, reply) => reply.sse(source))
      t.equal((await fetchAll(t, await listen(app), options)).statusCode, status)
      t.type(await released, 'string', `${status}`)
    }
  })
}
