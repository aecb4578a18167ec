import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/until.ts'
import { metricsOf } from '../support/service/metrics.ts'
import { call } from '../support/service/service-app.ts'
import { SoakProcess } from '../support/service/soak-process.ts'
import type { Held } from '../support/service/soak-process.ts'

// Many clients that stay and many that come and go: the memory of a process must depend on the clients that are
// connected, not on earlier ones. `npm run soak` keeps 8,000 clients and lets 100,000 come and go.

const HELD = Number(process.env.SOAK_CONNECTIONS ?? 400)
const CONNECTS = Number(process.env.SOAK_CONNECTS ?? 3_000)
/** Concurrent connection attempts: the kernel queues only so many. */
const AT_ONCE = 100
/** Each address has about 28,000 ports, and a used one is blocked for a minute. */
const ADDRESSES = 20
/** A leak of 50 bytes for each of 100,000 clients is 5 MB, a fifth of an idle process. */
const MAX_GROWTH = 1.2
const CLIENTS_PER_EVENT = 500

let connects = 0

/** A client on a bare socket; settles when its stream has started. */
async function arrive (t: Test, { port }: SoakProcess, cursor: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${2 + connects++ % ADDRESSES}` })
  socket.on('error', error => { t.fail(error) })
  socket.write(`GET /events?topic=news HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n${cursor}\r\n`)
  await new Promise<void>((resolve, reject) => {
    socket.once('close', () => reject(new Error('a stream ended before it began')))
    let said = ''
    const onData = (chunk: Buffer): void => {
      said += chunk.toString()
      if (!said.startsWith('HTTP/1.1 200 ')) reject(new Error(said))
      if (!said.includes('stream.open')) return
      socket.off('data', onData)
      socket.removeAllListeners('close')
      socket.resume()
      resolve()
    }
    socket.on('data', onData)
  })
  return socket
}

/** The ways in which clients disconnect. */
const WAYS: ((socket: Socket) => void)[] = [
  socket => { socket.destroy() }, socket => { socket.resetAndDestroy() }, socket => { socket.end() }
]

/** Runs `work` this many times, some of them concurrently. */
async function times (count: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => { while (next < count) await work(next++) }
  await Promise.all(Array.from({ length: AT_ONCE }, run))
}

/** The memory of the process when this many streams and no other connections are open. */
async function heldWith (service: SoakProcess, streams: number): Promise<Held> {
  await until(async () => (await metricsOf(service.origin)).get('sse_streams_open') === streams)
  let held: Held | undefined
  // Timers and the connection that requested the metrics come and go: they are seen once and not again.
  await until(async () => {
    const before = held
    held = await service.measure()
    return held.handles.filter(kind => kind === 'TCPSocketWrap').length === streams && isDeepStrictEqual([
      before?.handles, before?.descriptors
    ], [held.handles, held.descriptors])
  })
  return held!
}

async function publish ({ origin }: SoakProcess): Promise<string> {
  const { json } = await call(`${origin}/topics/news/events`, { method: 'POST', body: { data: 'x'.repeat(100) } })
  return (json as { id: string }).id
}

/** All connected clients, and the next one's position. */
class Room {
  readonly #t: Test
  readonly #service: SoakProcess
  readonly #sockets: Socket[] = []
  #cursor = ''

  constructor (t: Test, service: SoakProcess) {
    this.#t = t
    this.#service = service
    t.teardown(() => { for (const socket of this.#sockets) socket.destroy() })
  }

  async fill (count: number): Promise<void> {
    await times(count, async () => { this.#sockets.push(await arrive(this.#t, this.#service, this.#cursor)) })
  }

  /** One client after another disconnects, and returns with a cursor as EventSource does. */
  async churn (count: number): Promise<void> {
    await times(count, async at => {
      if (at % CLIENTS_PER_EVENT === 0) this.#cursor = `last-event-id: ${await publish(this.#service)}\r\n`
      WAYS[at % WAYS.length]!(this.#sockets.shift()!)
      this.#sockets.push(await arrive(this.#t, this.#service, this.#cursor))
    })
  }

  empty (): void {
    for (const [at, socket] of this.#sockets.splice(0).entries()) WAYS[at % WAYS.length]!(socket)
  }
}

const megabytes = ({ heapBytes }: Held): string => `${(heapBytes / 1e6).toFixed(1)} MB`

t.test(`one process holds ${HELD} streams while ${CONNECTS} clients connect and disconnect, and its memory does not grow`, async t => {
  const service = await SoakProcess.start(t)
  const room = new Room(t, service)
  // Memory allocated once, for the first clients, does not count as growth.
  await room.fill(Math.min(HELD, AT_ONCE * 2))
  await room.churn(AT_ONCE * 5)
  room.empty()
  const empty = await heldWith(service, 0)
  await room.fill(HELD)
  const before = await heldWith(service, HELD)
  await room.churn(CONNECTS)
  const after = await heldWith(service, HELD)
  room.empty()
  const end = await heldWith(service, 0)
  t.comment(
    `${megabytes(empty)} without clients, ${megabytes(before)} with ${HELD}, ${megabytes(after)} after ${CONNECTS} more, ${megabytes(end)} without; ${Math.round((before.heapBytes - empty.heapBytes) / HELD)} bytes of heap per stream`
  )
  t.ok(after.heapBytes / before.heapBytes < MAX_GROWTH, `${megabytes(before)} before, ${megabytes(after)} after`)
  t.ok(end.heapBytes / empty.heapBytes < MAX_GROWTH, `${megabytes(empty)} before, ${megabytes(end)} after`)
  t.same([after.handles, after.descriptors], [before.handles, before.descriptors])
  t.same([end.handles, end.descriptors], [empty.handles, empty.descriptors])
  const metrics = await metricsOf(service.origin)
  t.equal(metrics.get('sse_streams_opened_total'), connects)
  t.equal(metrics.get('sse_streams_closed_total{reason="client"}'), connects)
  t.equal(metrics.get('sse_topics_followed'), 0)
})
