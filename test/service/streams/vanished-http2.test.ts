import t from 'tap'
import { connectHttp2 } from '../../support/clients/client.ts'
import { certificateFiles } from '../../support/network/http2-client.ts'
import { TestService } from '../../support/service/service-app.ts'
import { until } from '../../support/until.ts'

// Regression: HTTP/2 clients that vanish. After a malformed frame Node 20 sends GOAWAY and never closes the session:
// its streams were counted indefinitely, and 60 such requests filled a service with MAX_STREAMS=60.

const [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9
] as const

function frame (type: number, flags: number, streamId: number, payload: readonly number[] = []): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(streamId, 5)
  return Buffer.concat([head, Buffer.from(payload)])
}

/** A header that is in no table: its name by its index in the static table. */
const literal = (name: number, value: string): number[] => [name, value.length, ...Buffer.from(value)]

/** The preface, and GET /events?topic=news over https. */
const REQUEST = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0),
  frame(HEADERS, 0x5, 1, [0x82, 0x87, ...literal(4, '/events?topic=news'), ...literal(1, '127.0.0.1')])
])

/** What each client sends last, before it goes silent or disconnects. */
const WAYS: Record<string, Buffer> = {
  'RST_STREAM with a wrong length': frame(RST_STREAM, 0, 1, [0, 0, 0]),
  'PRIORITY with a wrong length': frame(PRIORITY, 0, 1, [0]),
  'DATA on stream 0': frame(DATA, 0, 0, [1]),
  'a lone CONTINUATION': frame(CONTINUATION, 0x4, 1, [0x82]),
  'SETTINGS with a wrong length': frame(SETTINGS, 0, 0, [1]),
  'PING with a wrong length': frame(PING, 0, 0, [1]),
  'WINDOW_UPDATE by 0': frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 0]),
  'PUSH_PROMISE from a client': frame(PUSH_PROMISE, 0x4, 1, [0, 0, 0, 2, 0x82]),
  'HEADERS with invalid HPACK': frame(HEADERS, 0x5, 3, [0xff, 0xff, 0xff, 0xff, 0xff]),
  GOAWAY: frame(GOAWAY, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]),
  nothing: Buffer.alloc(0)
}

for (const leaves of [true, false]) {
  t.test(`an HTTP/2 client that vanishes does not keep its place, however it does, ${leaves ? 'and closes its connection' : 'its connection open'}`, async t => {
    const { cert, key } = certificateFiles(t)
    const service = await TestService.start(t, {
      TLS_CERT: cert, TLS_KEY: key, MAX_STREAMS_PER_ADDRESS: '1000'
    }, { idleMs: 400, checkMs: 50 })
    let open = 0
    service.app.server.on('stream', stream => {
      open++
      stream.once('close', () => { open-- })
    })
    let sent = 0
    for (const [way, last] of Object.entries(WAYS)) {
      const { socket, send, inbox } = await connectHttp2(t, service.origin)
      send(REQUEST)
      await inbox.until('stream.open')
      sent++
      send(last)
      if (leaves) socket.end()
      t.pass(way)
    }
    t.equal(sent, Object.keys(WAYS).length)
    await until(() => open === 0)
    const { values } = await service.app.metrics.getSingleMetric('sse_streams_open')!.get()
    t.equal(values[0]!.value, 0)
  })
}
