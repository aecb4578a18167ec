import { setTimeout as pause } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { Test } from 'tap'
import { deferred } from '../../plugin/common/deferred.ts'

/** One event as a client got it; `cursor` is the last id at that time. */
export interface Received { event: string, cursor: string, data: string }

export interface ResumingClientOptions {
  /** Where the next connect goes; a fixed origin, or another one each time. */
  origin: string | (() => string)
  topics: readonly string[]
}

/** EventSource waits for `retry:`, 3 s as the service has it; a test does not. */
const RECONNECT_MS = 20

/**
 * Does what EventSource does, and nothing more: reads, remembers the last id, and when the connection is lost or refused
 * comes back with it. It never looks at what it got.
 */
export class ResumingClient {
  readonly received: Received[] = []
  /** Streams that were open, and answers other than 200. */
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

  /** Starts it, and waits for its first stream: what is published from then on is its own. */
  static async start (t: Test, options: ResumingClientOptions): Promise<ResumingClient> {
    const client = new ResumingClient(options)
    t.teardown(() => client.stop())
    await client.until(() => client.received.some(({ event }) => event === 'stream.open'))
    return client
  }

  /** Events that were published, without those of the stream itself. */
  get events (): Received[] {
    return this.received.filter(({ event }) => !event.startsWith('stream.'))
  }

  get gaps (): Received[] {
    return this.received.filter(({ event }) => event === 'stream.gap')
  }

  get topics (): readonly string[] { return this.#options.topics }

  /** Waits until events with all these data have come. */
  async untilData (data: readonly string[]): Promise<void> {
    const missing = new Set(data)
    let seen = 0
    await this.until(() => {
      for (; seen < this.received.length; seen++) missing.delete(this.received[seen]!.data)
      return missing.size === 0
    })
  }

  /** Waits until something holds; looked at after every event and every connect. */
  async until (holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise
  }

  /** Loses the connection, as in a tunnel; it comes back by itself. */
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

  /** One connection, to its end; rejects when there is none, or it breaks. */
  async #connect (signal: AbortSignal): Promise<void> {
    const { origin, topics } = this.#options
    const query = topics.map(topic => `topic=${encodeURIComponent(topic)}`).join('&')
    const headers = { accept: 'text/event-stream', ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }) }
    const response = await fetch(`${typeof origin === 'string' ? origin : origin()}/events?${query}`, { headers, signal })
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
