import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/log-contract.ts'
import { metricsOf } from '../support/metrics.ts'
import { call } from '../support/service-app.ts'
import { SoakProcess } from '../support/soak-process.ts'
import type { Held } from '../support/soak-process.ts'

// Many clients that stay and many that come and go: what one process holds must depend on who is there, not on who was.
// `npm run soak` holds 8,000 and lets 100,000 come.

const HELD = Number(process.env.SOAK_CONNECTIONS ?? 400)
const CONNECTS = Number(process.env.SOAK_CONNECTS ?? 3_000)
/** Connecting at one time: the kernel keeps only so many in line. */
const AT_ONCE = 100
/** Each address has some 28,000 ports, and one that was used rests for a minute. */
const ADDRESSES = 20
/** A leak of 50 bytes for each of 100,000 clients is 5 MB, a fifth of a process without any. */
const MAX_GROWTH = 1.2
const CLIENTS_PER_EVENT = 500

let connects = 0

/** A client on a bare socket; settles when its stream has begun. */
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

/** Ways in which clients leave. */
const WAYS: ((socket: Socket) => void)[] = [socket => { socket.destroy() }, socket => { socket.resetAndDestroy() }, socket => { socket.end() }]

/** Runs `work` so many times, some at one time. */
async function times (count: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => { while (next < count) await work(next++) }
  await Promise.all(Array.from({ length: AT_ONCE }, run))
}

/** What the process holds when so many streams are open, and no other connection. */
async function heldWith (service: SoakProcess, streams: number): Promise<Held> {
  await until(async () => (await metricsOf(service.origin)).get('sse_streams_open') === streams)
  let held: Held | undefined
  // What comes and goes by itself, a timer or the connection that asked for the metrics, is there once and not again.
  await until(async () => {
    const before = held
    held = await service.measure()
    return held.handles.filter(kind => kind === 'TCPSocketWrap').length === streams && isDeepStrictEqual([before?.handles, before?.descriptors], [held.handles, held.descriptors])
  })
  return held!
}

async function publish ({ origin }: SoakProcess): Promise<string> {
  const { json } = await call(`${origin}/topics/news/events`, { method: 'POST', body: { data: 'x'.repeat(100) } })
  return (json as { id: string }).id
}

/** Everybody in it, and a place in the room where the next one comes. */
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

  /** One after the other leaves, and comes back with a cursor as EventSource does. */
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

t.test(`${HELD} streams are held by one process while ${CONNECTS} clients come and go, and what it holds does not grow`, async t => {
  const service = await SoakProcess.start(t)
  const room = new Room(t, service)
  // What is made once, by the first clients, is no growth.
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
  t.comment(`${megabytes(empty)} without clients, ${megabytes(before)} with ${HELD}, ${megabytes(after)} after ${CONNECTS} more, ${megabytes(end)} without; ${Math.round((before.heapBytes - empty.heapBytes) / HELD)} bytes of heap per stream`)
  t.ok(after.heapBytes / before.heapBytes < MAX_GROWTH, `${megabytes(before)} before, ${megabytes(after)} after`)
  t.ok(end.heapBytes / empty.heapBytes < MAX_GROWTH, `${megabytes(empty)} before, ${megabytes(end)} after`)
  t.same([after.handles, after.descriptors], [before.handles, before.descriptors])
  t.same([end.handles, end.descriptors], [empty.handles, empty.descriptors])
  const metrics = await metricsOf(service.origin)
  t.equal(metrics.get('sse_streams_opened_total'), connects)
  t.equal(metrics.get('sse_streams_closed_total{reason="client"}'), connects)
  t.equal(metrics.get('sse_topics_followed'), 0)
})
