import { setTimeout as pause } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { Test } from 'tap'
import { deferred } from '../../../plugin/common/deferred.ts'

/** One event as a client received it; `cursor` is the last id at that time. */
export interface Received { event: string, cursor: string, data: string }

export interface ResumingClientOptions {
  /** The origin of the next connection; fixed, or a different one each time. */
  origin: string | (() => string)
  topics: readonly string[]
}

/** EventSource waits for `retry:`, which is 3 s in the service; a test does not. */
const RECONNECT_MS = 20

/**
 * Does what EventSource does and nothing more: reads, remembers the last id, and reconnects with it if the connection
 * is lost or rejected. It never inspects the events.
 */
export class ResumingClient {
  readonly received: Received[] = []
  /** Number of streams that were open, and of responses with another status than 200. */
  connects = 0
  readonly refusals: number[] = []
  #cursor = ''
  readonly #options: ResumingClientOptions
  readonly #leaving = new AbortController()
  #changed = deferred<void>()
  #connection = new AbortController()
  readonly #over: Promise<void>

  private constructor (options: ResumingClientOptions) {
    this.#options = options
    this.#over = this.#run()
  }

  /** Starts it, and waits for its first stream: it receives everything published from then on. */
  static async start (t: Test, options: ResumingClientOptions): Promise<ResumingClient> {
    const client = new ResumingClient(options)
    t.teardown(() => client.stop())
    await client.until(() => client.received.some(({ event }) => event === 'stream.open'))
    return client
  }

  /** Published events, without in-band events. */
  get events (): Received[] {
    return this.received.filter(({ event }) => !event.startsWith('stream.'))
  }

  get gaps (): Received[] {
    return this.received.filter(({ event }) => event === 'stream.gap')
  }

  get topics (): readonly string[] { return this.#options.topics }

  /** Waits until events with all these data have arrived. */
  async untilData (data: readonly string[]): Promise<void> {
    const missing = new Set(data)
    let seen = 0
    await this.until(() => {
      for (; seen < this.received.length; seen++) missing.delete(this.received[seen]!.data)
      return missing.size === 0
    })
  }

  /** Waits until a condition holds; checked after every event and every connection. */
  async until (holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise
  }

  /** Cuts the connection, as in a tunnel; the client reconnects by itself. */
  cut (): void {
    this.#connection.abort()
  }

  async stop (): Promise<void> {
    this.#leaving.abort()
    await this.#over
  }

  async #run (): Promise<void> {
    const { signal } = this.#leaving
    while (!signal.aborted) {
      this.#connection = new AbortController()
      await this.#connect(AbortSignal.any([signal, this.#connection.signal])).catch(() => {})
      await pause(RECONNECT_MS, undefined, { signal }).catch(() => {})
    }
  }

  /** One connection, until its end; rejects if it cannot be opened, or breaks. */
  async #connect (signal: AbortSignal): Promise<void> {
    const { origin, topics } = this.#options
    const query = topics.map(topic => `topic=${encodeURIComponent(topic)}`).join('&')
    const headers = { accept: 'text/event-stream', ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }) }
    const response = await fetch(`${typeof origin === 'string' ? origin : origin()}/events?${query}`, {
      headers, signal
    })
    if (response.status !== 200) this.refusals.push(response.status)
    else this.connects++
    this.#tell()
    const events = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
    for await (const { event = 'message', id, data } of events ?? []) {
      if (id !== undefined) this.#cursor = id
      this.received.push({ event, cursor: this.#cursor, data })
      this.#tell()
    }
  }

  #tell (): void {
    const changed = this.#changed
    this.#changed = deferred()
    changed.settle()
  }
}
