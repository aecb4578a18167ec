import t from 'tap'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect } from '../../support/clients/client.ts'
import { heapAfterGc } from '../../support/processes/heap.ts'
import { until } from '../../support/until.ts'

const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
/** Chunks of one byte, each of which Node delivers in a separate buffer. */
const CHUNKS = '1\r\nx\r\n'.repeat(50_000)
const MiB = 1024 * 1024

// Regression: nobody reads the body of a GET. It stayed in memory as long as the stream was open, 16,384 buffers and 4
// MiB for each client that sent it byte by byte.
t.test('H07 the body of a GET takes no memory while its stream is open, and a disconnect of the client is noticed', async t => {
  const app = await buildApp(t)
  const reasons: unknown[] = []
  app.get(
    '/',
    (request, reply) => reply.sse(stream => { stream.push({ data: 'a' }) }, { onClose: reason => reasons.push(reason) })
  )
  const origin = await listen(app)
  const clients = await Promise.all(Array.from({ length: 5 }, async () => connect(t, origin)))
  for (const { send } of clients) send(GET)
  await Promise.all(clients.map(({ inbox }) => inbox.until('data: a')))
  const before = heapAfterGc()
  for (const { send } of clients) for (let n = 0; n < 2; n++) send(CHUNKS)
  await until(() => clients.every(({ socket }) => socket.writableLength === 0))
  const grown = heapAfterGc() - before
  t.ok(grown < 5 * MiB, `${(grown / MiB).toFixed(1)} MiB more for 5 clients`)
  for (const { socket } of clients) socket.destroy()
  await until(() => reasons.length === clients.length)
  t.same(new Set(reasons), new Set(['client']))
})

t.test('a handler may read the body of a GET itself, before its stream and after it', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    for await (const chunk of request.raw) yield String(chunk)
  }))
  app.get('/before', async (request, reply) => {
    const chunks: unknown[] = []
    for await (const chunk of request.raw) chunks.push(chunk)
    return reply.sse({ data: chunks.join('') })
  })
  const origin = await listen(app)
  for (const path of ['/', '/before']) {
    const { send, inbox } = await connect(t, origin)
    send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`)
    t.match(await inbox.ended(), /data: hello\n\n/, path)
  }
})
