import t from 'tap'
import net from 'node:net'
import { once } from 'node:events'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import sse from '../../../plugin/index.ts'
import type { CloseReason, SseStream } from '../../../plugin/index.ts'

// Regression: when a client requests a stream over HTTP/2 and then sends a malformed frame, Node 20 sends GOAWAY and
// never closes the session. The stream stayed open and was counted indefinitely, with no connection left; sixty of them
// filled a service with a limit of sixty.

const frame = (type: number, id: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, payload])
}

const BAD_FRAMES: Record<string, Buffer> = {
  'RST_STREAM of a wrong length': frame(3, 1, Buffer.alloc(3)),
  'PRIORITY of a wrong length': frame(2, 1, Buffer.alloc(4)),
  'DATA on stream 0': frame(0, 0, Buffer.from('x')),
  'a CONTINUATION alone': frame(9, 1, Buffer.from('x'))
}

t.test('a stream ends with its connection, even if its session does not notice', async t => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(sse, { heartbeatMs: 40, drainMs: 100 })
  const opened: SseStream[] = []
  app.get('/', (request, reply) => { opened.push(reply.sse()) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  for (const [what, bytes] of Object.entries(BAD_FRAMES)) {
    const socket = net.connect(port, '127.0.0.1')
    const session = connect(`http://127.0.0.1:${port}`, { createConnection: () => socket })
    session.on('error', () => {})
    const request = session.request({ ':path': '/' })
    request.on('error', () => {})
    await once(request, 'response')
    const closed: Promise<CloseReason> = opened.at(-1)!.closed
    // The GOAWAY is received; then the client disconnects, and the server is not notified.
    socket.write(bytes, () => { setTimeout(() => { socket.destroy() }, 50) })
    // Newer versions of Node end the session, and the disconnect is noticed.
    t.match(await closed, /^(slow|client)$/, what)
    session.destroy()
    socket.destroy()
  }
})
