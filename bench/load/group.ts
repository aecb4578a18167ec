import { once } from 'node:events'
import { get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { createGunzip } from 'node:zlib'
import { EventCounter } from './event-counter.ts'

export interface GroupInit {
  group: string
  port: number
  /** The clients request these in turn. */
  paths: readonly string[]
  clients: number
  headers?: Record<string, string>
  /** Every n-th client measures latency, using the stamp in the event. Default 10. */
  latencyEvery?: number
  /**
   * Number of events that each client receives without a `mark`, because they are sent as soon as it is connected.
   * Default 0.
   */
  expect?: number
}

/** What the clients of a group received. Times are in ms of `process.hrtime`, a clock that all processes share. */
export interface Received {
  /** When the last event arrived. */
  finishedAtMs: number
  bytes: number
  /** Latency of all measured events. */
  p50: number
  p99: number
  /** Latency of the first event of each stream. */
  firstP50: number
  firstP99: number
}

/** If the last event has not arrived after this time, the scenario has failed. */
const TIMEOUT_MS = 120_000
/** Maximum number of connections being opened concurrently: fewer than a listener's backlog. */
const OPENING = 200

interface Client { socket: Socket, counter: EventCounter, count: number, isStalled: boolean }

/** Clients of one server that are counted together. */
export class Group {
  readonly connected: Promise<void>
  readonly #init: GroupInit
  readonly #clients: Client[] = []
  #events = 0
  #bytes = 0
  #waiting = 0
  #finishedAtMs = 0
  #latencies: number[] = []
  #firsts: number[] = []
  #failure: Error | undefined

  constructor (init: GroupInit) {
    this.#init = init
    this.#events = init.expect ?? 0
    this.connected = this.#open()
  }

  mark (events: number): void {
    this.#events = events
    this.#bytes = 0
    this.#latencies = []
    this.#firsts = []
    this.#waiting = this.#clients.length
    for (const client of this.#clients) client.count = 0
  }

  /** Rejects if a client has received too few or too many events. */
  async received (): Promise<Received> {
    await this.#until(() => this.#waiting <= this.#clients.filter(({ isStalled }) => isStalled).length)
    return this.#report()
  }

  stall (share: number): void {
    for (const client of this.#clients.slice(0, Math.ceil(this.#clients.length * share))) {
      client.isStalled = true
      client.socket.pause()
    }
  }

  async resume (): Promise<Received> {
    for (const client of this.#clients) {
      client.isStalled = false
      client.socket.resume()
    }
    return this.received()
  }

  async close (): Promise<void> {
    await Promise.all(this.#clients.map(async ({ socket }) => {
      socket.removeAllListeners('data').removeAllListeners('close').resume()
      socket.destroy()
      if (!socket.closed) await once(socket, 'close')
    }))
  }

  async #open (): Promise<void> {
    let opened = 0
    const openSome = async (): Promise<void> => {
      while (opened < this.#init.clients) await this.#openOne(opened++)
    }
    await Promise.all(Array.from({ length: OPENING }, openSome))
  }

  async #openOne (at: number): Promise<void> {
    if (this.#init.headers?.['accept-encoding'] !== undefined) return this.#openDecoding(at)
    const { port, paths, headers = {} } = this.#init
    const socket = connect(port, '127.0.0.1')
    const client = this.#addClient(socket, at)
    const lines = Object.entries({ host: 'localhost', accept: 'text/event-stream', ...headers })
    const head = [`GET ${paths[at % paths.length]} HTTP/1.1`, ...lines.map(line => line.join(': '))]
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    socket.on('data', chunk => {
      this.#bytes += chunk.length
      this.#read(client, chunk)
    })
    await once(socket, 'data')
  }

  /** A full client of HTTP, which counts the bytes of the body and decodes it. */
  async #openDecoding (at: number): Promise<void> {
    const { port, paths, headers = {} } = this.#init
    const options = { port, path: paths[at % paths.length]!, headers: { accept: 'text/event-stream', ...headers } }
    const request = get({ host: '127.0.0.1', agent: false, ...options })
    const [response] = await once(request, 'response') as [IncomingMessage]
    const client = this.#addClient(response.socket, at)
    const decoded = response.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response
    response.on('data', (chunk: Buffer) => { this.#bytes += chunk.length })
    response.on('error', () => {})
    decoded.on('data', (chunk: Buffer) => this.#read(client, chunk))
    await once(decoded, 'data')
  }

  #addClient (socket: Socket, at: number): Client {
    const { latencyEvery = 10 } = this.#init
    const client: Client = { socket, counter: new EventCounter(at % latencyEvery === 0), count: 0, isStalled: false }
    this.#clients.push(client)
    this.#waiting++
    socket.on('error', error => { this.#failure = error })
    socket.on('close', () => { this.#failure ??= new Error(`the server ended stream ${at} of ${this.#init.group}`) })
    return client
  }

  #read (client: Client, chunk: Buffer): void {
    const before = client.count
    client.count += client.counter.count(chunk, ms => {
      this.#latencies.push(ms)
      if (before === 0) this.#firsts.push(ms)
    })
    if (before < this.#events && client.count >= this.#events) this.#waiting--
    if (client.count > before) this.#finishedAtMs = now()
  }

  async #until (isDone: () => boolean): Promise<void> {
    for (const endAtMs = now() + TIMEOUT_MS; !isDone(); await wait(5)) {
      if (this.#failure) throw this.#failure
      if (now() > endAtMs) throw new Error(`${this.#waiting} clients of ${this.#init.group} lack events`)
    }
    // Any duplicates would arrive right after the last event.
    await wait(20)
    const wrong = this.#clients.filter(({ count, isStalled }) => !isStalled && count !== this.#events)
    if (wrong.length > 0) {
      throw new Error(`${wrong.length} clients received ${wrong[0]!.count} events instead of ${this.#events}`)
    }
  }

  #report (): Received {
    const latencies = this.#latencies.sort((a, b) => a - b)
    const firsts = this.#firsts.sort((a, b) => a - b)
    return {
      finishedAtMs: this.#finishedAtMs,
      bytes: this.#bytes,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      firstP50: quantile(firsts, 0.5),
      firstP99: quantile(firsts, 0.99)
    }
  }
}

/** NaN for an empty list. */
function quantile (sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

function now (): number {
  return Number(process.hrtime.bigint()) / 1e6
}
