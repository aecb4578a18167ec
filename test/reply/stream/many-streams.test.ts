import t from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { SseStream } from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { dial, get } from '../../support/clients/client.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

const WAVES = 10
const STREAMS = 1_000
/** Heap growth from the first waves to the last, per stream opened in between. */
const MAX_BYTES_PER_STREAM = 500

function heapUsed (): number {
  gc()
  gc()
  return process.memoryUsage().heapUsed
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

t.test('10,000 streams, opened and closed in waves, leave nothing behind', async t => {
  const app = await buildApp(t, { retryMs: false, heartbeatMs: 1_000, maxLifetimeMs: 600_000 })
  // Each kind of source in turn; half of the streams are ended by the server, half by the client.
  app.get('/generator', (request, reply) => reply.sse(async function * (stream) {
    yield 'a'
    await new Promise(resolve => stream.signal.addEventListener('abort', resolve))
  }))
  app.get('/manual', (request, reply) => {
    const stream = reply.sse()
    void stream.closed
    void stream.send({ data: 'a' })
  })
  app.get('/ended', (request, reply) => reply.sse(['a']))
  app.get('/callback', (request, reply) => reply.sse(async stream => { await stream.send({ data: 'a' }) }))
  const url = await listen(app)
  const serverSockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    serverSockets.add(socket)
    socket.once('close', () => serverSockets.delete(socket))
  })
  const streams: WeakRef<SseStream>[] = []
  let closes = 0
  const opened = (message: unknown): void => { streams.push(new WeakRef((message as { stream: SseStream }).stream)) }
  const closed = (): void => { closes++ }
  subscribe('sse.stream.open', opened)
  subscribe('sse.stream.close', closed)
  t.teardown(() => { unsubscribe('sse.stream.open', opened); unsubscribe('sse.stream.close', closed) })

  const paths = ['/generator', '/manual', '/ended', '/callback']
  const wave = async (): Promise<void> => {
    for (let part = 0; part < STREAMS; part += 250) {
      await Promise.all(Array.from({ length: 250 }, async (_, n) => {
        const { socket, inbox, send } = await dial(url)
        send(get(paths[n % paths.length]!))
        await inbox.until('data: a')
        socket.destroy()
        await inbox.ended()
      }))
    }
    while (serverSockets.size > 0) await turn()
    await turn()
  }

  const heaps: number[] = []
  const resources: number[] = []
  for (let n = 0; n < WAVES; n++) {
    await wave()
    heaps.push(heapUsed())
    resources.push(process.getActiveResourcesInfo().filter(name => name !== 'Immediate').length)
  }
  t.equal(streams.length, WAVES * STREAMS)
  t.equal(closes, WAVES * STREAMS)
  t.same(new Set(resources), new Set([resources[0]]), 'no timer, no socket')
  t.comment(heaps.map(bytes => Math.round(bytes / 1024)).join(' KiB, '))
  // The first waves fill caches.
  const gained = heaps.at(-1)! - heaps[2]!
  t.ok(gained < (WAVES - 3) * STREAMS * MAX_BYTES_PER_STREAM, `${gained} bytes gained`)
  await turn()
  gc()
  t.equal(
    streams.filter(ref => ref.deref() !== undefined).length,
    0,
    'no registry entry, no listener, no timer holds a stream'
  )
  for (const name of ['close', 'timeout', 'drain']) t.ok(app.server.listenerCount(name) < 3, name)
})
