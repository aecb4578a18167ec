import t from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { SseOptions, SseStream } from '../../../plugin/index.ts'
import { listen } from '../../support/apps/app.ts'
import { connect, get } from '../../support/clients/client.ts'
import { makeCertificate, openHttp2, openSession } from '../../support/network/http2-client.ts'
import type { Inbox } from '../../support/clients/inbox.ts'
import { manual } from '../../support/documents/manual.ts'
import { stuck, tick } from '../../support/until.ts'

// Regression: a reader that read nothing was kept for three heartbeats or more, and indefinitely on an HTTP/2 session
// with a second stream that was read: the check used the time-out of the socket, or of the session, which any write and
// any other stream restarts.

// Regression: a stream reported room while `send()` was waiting: the kernel had accepted one of the pending writes, and
// nothing after it. A producer that checked `isFull` before each event added one after another, and on Node 26 this
// test waited for a full stream indefinitely.

/** No tick happens by itself: the streams are ticked manually, so that nothing here depends on time. */
const HEARTBEAT_MS = 2_000_000_000
/** The first tick finds pending bytes; two heartbeats are eight more ticks. */
const TICKS = 9
const MiB = 1024 * 1024
const KINDS = ['HTTP/1.1', 'HTTP/1.1 over TLS', 'HTTP/2', 'HTTP/2 over TLS'] as const
const certificate = makeCertificate()

/** A client that reads on request. */
interface Reader { inbox: Inbox, pause: () => void, resume: () => void }

interface Site { app: FastifyInstance, stream: Promise<SseStream>, read: (path?: string) => Promise<Reader> }

async function site (t: Test, kind: typeof KINDS[number], options: SseOptions = {}): Promise<Site> {
  const isHttp2 = kind.startsWith('HTTP/2')
  const app = Fastify(
    { http2: isHttp2, ...kind.endsWith('TLS') ? { https: certificate } : {} } as unknown as FastifyServerOptions
  ) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(sse, { drainMs: 100, heartbeatMs: HEARTBEAT_MS, ...options })
  const { stream } = manual(app)
  return { app, stream, read: await (isHttp2 ? http2Readers : http1Readers)(t, app) }
}

async function http1Readers (t: Test, app: FastifyInstance): Promise<Site['read']> {
  let origin: Promise<string> | undefined
  return async (path = '/') => {
    origin ??= listen(app)
    const { socket, inbox, send } = await connect(t, await origin)
    send(get(path))
    await inbox.until(':\n')
    return { inbox, pause: () => { socket.pause() }, resume: () => { socket.resume() } }
  }
}

/** All on one session, whose own window is large enough. */
async function http2Readers (t: Test, app: FastifyInstance): Promise<Site['read']> {
  let session: ReturnType<typeof openSession> | undefined
  return async (path = '/') => {
    session ??= listen(app).then(origin => openSession(t, origin, { ca: certificate.cert }))
    ;(await session).setLocalWindowSize(64 * MiB)
    const { stream, inbox } = await openHttp2(await session, path)
    await inbox.until(':\n')
    return { inbox, pause: () => { stream.pause() }, resume: () => { stream.resume() } }
  }
}

/** Sends until the stream is closed. */
async function fill (stream: SseStream, event: { data: string }): Promise<void> {
  while (await stream.send(event)) if (stream.written.events % 100 === 0) await turn()
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

for (const kind of KINDS) {
  t.test(`${kind}: a client that reads nothing is cut after two heartbeats, however much is written meanwhile`, async t => {
    const { stream: opening, read } = await site(t, kind, { slowClient: 'drop' })
    const reader = await read()
    const stream = await opening
    reader.pause()
    await stream.send({ data: 'x'.repeat(20 * MiB) })
    await stuck(stream)
    let ticks = 0
    while (stream.isOpen && ticks < 10 * TICKS) {
      tick(stream)
      ticks++
      stream.push({ data: 'more' })
      stream.comment('more')
      await turn()
    }
    t.equal(stream.closeReason, 'slow')
    // A kernel may accept some more of the pending bytes, once or twice.
    t.ok(ticks >= TICKS && ticks < 4 * TICKS, `${ticks} ticks`)
  })

  t.test(`${kind}: a client that reads one large event slowly stays connected`, async t => {
    const { stream: opening, read } = await site(t, kind)
    const reader = await read()
    const stream = await opening
    reader.pause()
    await stream.send({ data: 'x'.repeat(40 * MiB) })
    while (stream.isOpen && stream.bufferedBytes > 0) {
      reader.resume()
      await reader.inbox.untilBytes(Math.min(40 * MiB, reader.inbox.bytes + MiB))
      reader.pause()
      await turn()
      tick(stream)
    }
    t.equal(stream.isOpen, true)
  })

  t.test(`${kind}: the pending data of a stalled client is bounded`, async t => {
    const maxBufferedBytes = 128 * 1024
    const highWaterMarkBytes = 32 * 1024
    /** One line of chunked encoding per event. */
    const framing = 1.01
    for (const size of [16_000, 1_000_000]) {
      const { stream: opening, read } = await site(t, kind, {
        slowClient: 'drop', maxBufferedBytes, highWaterMarkBytes
      })
      const reader = await read()
      const stream = await opening
      reader.pause()
      const event = { data: 'x'.repeat(size) }
      const full = fill(stream, event)
      await stuck(stream)
      const waiting = stream.bufferedBytes
      t.ok(
        waiting > 0 && waiting <= framing * (highWaterMarkBytes + size + 100),
        `${size}: send() lets ${waiting} bytes accumulate`
      )
      for (let n = 0; n < 30; n++) stream.push(event)
      const most = stream.bufferedBytes
      t.ok(
        most <= framing * Math.max(maxBufferedBytes, highWaterMarkBytes + size + 100),
        `${size}: push() lets ${most} bytes accumulate`
      )
      stream.destroy('revoked')
      t.equal(stream.bufferedBytes, 0, 'and nothing is kept after it')
      await full
    }
  })
}

t.test('HTTP/2: a stalled stream is cut although another stream of its session is read', async t => {
  const { app, stream: opening, read } = await site(t, 'HTTP/2')
  const other = manual(app, '/other')
  const reader = await read()
  const neighbour = await read('/other')
  const [stream, busy] = [await opening, await other.stream]
  reader.pause()
  await stream.send({ data: 'x'.repeat(20 * MiB) })
  await stuck(stream)
  for (let ticks = 0; stream.isOpen && ticks < 4 * TICKS; ticks++) {
    const arrived = neighbour.inbox.bytes
    await busy.send({ data: 'x'.repeat(1_000) })
    await neighbour.inbox.untilBytes(arrived + 1_000)
    tick(stream)
    tick(busy)
  }
  t.equal(stream.closeReason, 'slow')
  t.equal(busy.isOpen, true)
})
