import t from 'tap'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { CloseReason, SseStream } from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { connect, get, open, stall } from '../../support/clients/client.ts'
import { manual } from '../../support/documents/manual.ts'
import { stuck, until } from '../../support/until.ts'

const BLOCK = 'x'.repeat(200_000)

t.test('a client that stalls and then leaves: every send settles, and the pending ones settle with false', async t => {
  const app = await buildApp(t)
  const { stream: opening, reason } = manual(app)
  const { socket } = await stall(t, await listen(app), '/')
  const stream = await opening
  const sends = Array.from({ length: 100 }, () => stream.send({ data: BLOCK }))
  const room = stream.room()
  await stuck(stream)
  socket.destroy()
  t.equal(await reason, 'client')
  const results = await Promise.all(sends)
  t.equal(results[0], true)
  t.equal(results.at(-1), false)
  t.equal(results.indexOf(false), results.lastIndexOf(true) + 1, 'in order')
  t.same([await room, await stream.send({ data: 'a' }), stream.bufferedBytes], [false, false, 0])
})

t.test('a client that stalls and then leaves: generators are returned and Readables destroyed', async t => {
  const app = await buildApp(t)
  const streams: SseStream[] = []
  const done: string[] = []
  const allDone = once(app.server, 'all done')
  const note = (what: string): void => { if (done.push(what) === 3) app.server.emit('all done') }
  app.get('/sync', (request, reply) => reply.sse(stream => {
    streams.push(stream)
    return (function * () { try { for (;;) yield BLOCK } finally { note('sync') } })()
  }))
  app.get('/async', (request, reply) => reply.sse(async function * (stream) {
    streams.push(stream)
    try { for (;;) yield BLOCK } finally { note('async') }
  }))
  app.get('/readable', (request, reply) => reply.sse(stream => {
    streams.push(stream)
    return new Readable({
      read () { this.push(BLOCK) }, destroy (error, callback) { note('readable'); callback(error) }
    })
  }))
  const url = await listen(app)
  const clients = []
  for (const path of ['/sync', '/async', '/readable']) clients.push(await stall(t, url, path))
  await until(() => streams.length === 3)
  await Promise.all(streams.map(stuck))
  t.same(done, [])
  for (const { socket } of clients) socket.resetAndDestroy()
  await allDone
  t.same(done.sort(), ['async', 'readable', 'sync'])
})

t.test('a client that left before the handler calls reply.sse() starts nothing', async t => {
  const app = await buildApp(t)
  const closes: CloseReason[] = []
  const readable = new Readable({ read () {} })
  app.get('/', async (request, reply) => {
    app.server.emit('handler')
    await once(request.raw.socket, 'close')
    // 'close' of the response is emitted after that of its socket.
    await new Promise(resolve => setImmediate(resolve))
    void reply.sse(readable, { onClose: reason => closes.push(reason) })
    app.server.emit('called')
    return reply
  })
  const client = await connect(t, await listen(app))
  const [handler, called] = [once(app.server, 'handler'), once(app.server, 'called')]
  client.send(get('/'))
  await handler
  client.socket.destroy()
  await called
  t.equal(readable.destroyed, true)
  t.same(closes, ['client'])
})

t.test('a client that leaves while the source is opened: the source is not run', async t => {
  const app = await buildApp(t)
  let finish = (): void => {}
  let onClose!: (reason: CloseReason) => void
  const reason = new Promise<CloseReason>(resolve => { onClose = resolve })
  app.get('/', (request, reply) => reply.sse({
    open: () => new Promise(resolve => {
      finish = () => resolve(() => { t.fail('it must not run') })
      app.server.emit('preparing')
    })
  }, { onClose }))
  const client = await connect(t, await listen(app))
  const preparing = once(app.server, 'preparing')
  client.send(get('/'))
  await preparing
  client.socket.destroy()
  t.equal(await reason, 'client')
  finish()
})

t.test('200 stalled clients stay below their limit and are closed as slow', async t => {
  const maxBufferedBytes = 64 * 1024
  const app = await buildApp(t, { maxBufferedBytes, highWaterMarkBytes: 16 * 1024 })
  const streams: SseStream[] = []
  const reasons: CloseReason[] = []
  app.get('/', (request, reply) => { streams.push(reply.sse(undefined, { onClose: reason => reasons.push(reason) })) })
  const url = await listen(app)
  const frame = { bytes: Buffer.from(`data: ${'x'.repeat(10_000)}\n\n`), events: 1 }
  const clients = await Promise.all(Array.from({ length: 200 }, () => stall(t, url, '/')))
  await until(() => streams.length === clients.length)
  let worst = 0
  await until(() => {
    for (const stream of streams) {
      for (let n = 0; n < 3; n++) stream.write(frame)
      worst = Math.max(worst, stream.bufferedBytes)
    }
    return reasons.length === clients.length
  })
  // Each write is a chunk, and Node also counts its framing of about ten bytes.
  t.ok(worst > 16 * 1024 && worst <= maxBufferedBytes + 100, `at most ${worst} bytes were buffered`)
  t.same(new Set(reasons), new Set(['slow']))
})

t.test('with slowClient "drop" events are dropped and the stream stays open', async t => {
  const app = await buildApp(t, { slowClient: 'drop', maxBufferedBytes: 100_000, retryMs: false })
  const { stream: opening, reason } = manual(app)
  const client = await stall(t, await listen(app), '/')
  const stream = await opening
  let dropped = 0
  await until(() => {
    const isWritten = stream.push({ data: BLOCK.slice(0, 50_000) })
    if (!isWritten) dropped++
    return dropped > 20
  })
  t.equal(stream.isOpen, true)
  const { events } = stream.written
  client.socket.resume()
  await until(() => !stream.isFull)
  t.equal(await stream.send({ data: 'after' }), true)
  const text = await client.inbox.until('data: after')
  t.equal(text.split('data: x').length - 1, events, 'every accepted event was received completely, and no other')
  client.socket.destroy()
  t.equal(await reason, 'client')
})

t.test('a 10 MB event is received completely', async t => {
  const app = await buildApp(t, { retryMs: false })
  const { stream: opening } = manual(app)
  const client = await open(t, await listen(app))
  const big = 'ü'.repeat(5_000_000)
  const stream = await opening
  t.equal(await stream.send({ id: 1, data: big }), true)
  stream.end()
  t.ok(await client.inbox.ended() === `:\nid: 1\ndata: ${big}\n\n`)
})

// Regression: all waiting calls continued after one 'drain', before the first of them had written; data sent in the
// meantime overtook them, and together they exceeded the limit. Node asks for a pause at a mark of its own, 16 KiB or
// 64 KiB depending on its version: a lower one of ours was ignored.
for (const highWaterMarkBytes of [2_000, 20_000]) {
  t.test(`1,000 concurrent sends under backpressure keep their order, also relative to one made when there is room, at a mark of ${highWaterMarkBytes}`, async t => {
    const app = await buildApp(t, { highWaterMarkBytes, maxBufferedBytes: 40_000 })
    const { stream: opening } = manual(app)
    const client = await stall(t, await listen(app), '/')
    const stream = await opening
    const filler = BLOCK.slice(0, 10_000)
    let sent = 0
    let worst = 0
    const send = (): Promise<boolean> => stream.send({ data: `${sent++} ${filler}` })
    const sends = Array.from({ length: 1_000 }, send)
    await stuck(stream)
    sends.push(...[1, 2, 3].map(async () => { await stream.room(); return send() }))
    for (const each of sends) void each.then(() => { worst = Math.max(worst, stream.bufferedBytes) })
    client.socket.resume()
    t.ok((await Promise.all(sends)).every(Boolean))
    stream.end()
    const text = await client.inbox.until('0\r\n\r\n')
    t.same([...text.matchAll(/data: (\d+) /g)].map(([, n]) => Number(n)), Array.from({ length: 1_003 }, (_, n) => n))
    t.ok(worst <= highWaterMarkBytes + 10_100, `at most ${worst} bytes were buffered`)
  })
}

// Regression: once fewer bytes than the mark are pending there is room, while 'drain' is still to come: a send() made
// then was written before those that were waiting for 'drain'.
t.test('a send() made just before the drain is written after the pending ones', async t => {
  const app = await buildApp(t, { highWaterMarkBytes: 2_000_000, maxBufferedBytes: 40_000_000 })
  const { stream: opening } = manual(app)
  const client = await stall(t, await listen(app), '/')
  const stream = await opening
  stream.push({ data: BLOCK.repeat(60) })
  await stuck(stream)
  const waiting = stream.send({ data: 'first' })
  stream.push({ data: BLOCK.repeat(9) })
  // A client that reads slowly, so that the block after the large one has to wait for room itself.
  client.socket.removeAllListeners('data')
  const text: string[] = []
  const reading = setInterval(() => { text.push(String(client.socket.read(50_000) ?? '')) }, 1)
  t.teardown(() => clearInterval(reading))
  await until(() => stream.bufferedBytes < 2_000_000)
  t.ok(stream.bufferedBytes > 0, 'it has not drained yet')
  t.equal(stream.isFull, true, 'a send() would wait')
  const late = stream.send({ data: 'second' })
  t.same(await Promise.all([waiting, late]), [true, true])
  stream.end()
  await until(() => text.push(String(client.socket.read() ?? '')) > 0 && text.join('').includes('data: second'))
  t.match(text.join(''), /data: first\n\n[^]*data: second\n\n/)
})

t.test('a stream is full exactly when the buffered bytes reach the mark', async t => {
  const app = await buildApp(t, { highWaterMarkBytes: 100_000 })
  const { stream: opening } = manual(app)
  const { inbox } = await open(t, await listen(app))
  const stream = await opening
  await inbox.until(':\n')
  // Within one tick nothing is sent.
  for (let n = 0; n < 30; n++) {
    stream.push({ data: BLOCK.slice(0, 10_000) })
    t.equal(stream.isFull, stream.bufferedBytes >= 100_000, `${stream.bufferedBytes} bytes`)
  }
  t.equal(stream.isFull, true)
})

t.test('data sent before the headers is subject to backpressure like any other', async t => {
  const app = await buildApp(t, { highWaterMarkBytes: 1_000, maxBufferedBytes: 2_000, retryMs: false })
  const seen: unknown[] = []
  app.get('/', async (request, reply) => {
    const stream = reply.sse()
    const first = stream.send({ data: 'x'.repeat(1_000) })
    seen.push(stream.isFull, stream.bufferedBytes, stream.push({ data: 'y' }))
    const second = stream.send({ data: 'z' })
    seen.push(await first, await second, stream.isFull)
    stream.end()
    return reply
  })
  app.get('/flood', (request, reply) => {
    const stream = reply.sse()
    let pushes = 0
    while (stream.push({ data: 'x'.repeat(100) })) pushes++
    seen.push(pushes, stream.closeReason)
  })
  const url = await listen(app)
  const { inbox } = await open(t, url)
  t.equal(await inbox.ended(), `:\ndata: ${'x'.repeat(1_000)}\n\ndata: y\n\ndata: z\n\n`)
  t.same(seen.splice(0), [true, 1_008, true, true, true, false])
  const flooded = await connect(t, url)
  flooded.send(get('/flood'))
  t.equal(await flooded.inbox.ended(), '')
  t.same(seen, [18, 'slow'])
})

t.test('close("slow") discards what is pending; destroy() also discards what an ended stream still flushes', async t => {
  const app = await buildApp(t)
  const [one, two] = [manual(app, '/one'), manual(app, '/two')]
  const url = await listen(app)
  await stall(t, url, '/one')
  await stall(t, url, '/two')
  const streams = [await one.stream, await two.stream] as const
  for (const stream of streams) stream.push({ data: BLOCK.repeat(60) })
  await Promise.all(streams.map(stuck))
  streams[0].close('slow')
  streams[1].end()
  t.ok(streams[1].bufferedBytes > 0)
  streams[1].destroy('revoked')
  t.same([streams[0].bufferedBytes, streams[1].bufferedBytes], [0, 0])
  t.same([await one.reason, await two.reason], ['slow', 'end'])
})

t.test('a write that loses the race with a reset is not an error', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    for (;;) {
      yield 'x'
      await new Promise(resolve => setImmediate(resolve))
    }
  }, { onClose: () => app.server.emit('closed'), onError: () => { t.fail('no error') } }))
  const url = await listen(app)
  for (let n = 0; n < 20; n++) {
    const client = await connect(t, url)
    const closed = once(app.server, 'closed')
    client.send(get('/'))
    await client.inbox.until('data: x')
    client.socket.resetAndDestroy()
    await closed
  }
  t.pass('nothing was unhandled')
})
