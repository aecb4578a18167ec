import type * as EventSourceParser from 'eventsource-parser'
import { requirePeer } from '../common/peer.ts'
import type { FastifyInstance, InjectOptions } from 'fastify'

const { createParser } = requirePeer<typeof EventSourceParser>('eventsource-parser', 'injectSse')

/** One event as a client would see it. */
export interface InjectedEvent {
  /** Last event id at this event, carried over from earlier ones; undefined when none was sent yet. */
  id: string | undefined
  /** `message` when the server named none. */
  event: string
  data: string
}

/** A stream opened by `injectSse`. Iterating it gives the events in order and ends with the stream. */
export interface InjectedStream extends AsyncIterable<InjectedEvent> {
  statusCode: number
  headers: Record<string, number | string | string[] | undefined>
  /** All events received so far. */
  events: InjectedEvent[]
  /** All text received so far, comments included. */
  text: string
  /** The last `retry:` received, in ms. */
  retryMs: number | undefined
  /** Waits for the next `count` events (default 1); calls made at the same time get one after the other. Rejects when the stream ends first. */
  next: (count?: number) => Promise<InjectedEvent[]>
  /** Waits for the end of the stream and returns all its events. */
  end: () => Promise<InjectedEvent[]>
  /** Leaves, as a client that closes its connection. Does nothing when the stream has ended. */
  close: () => void
}

/**
 * Opens a stream in a test without a socket, through `app.inject`, and parses what it sends.
 * Resolves when the headers are there, also for a status other than 200. Close the stream, or let it end.
 */
export async function injectSse (app: FastifyInstance, options: InjectOptions | string): Promise<InjectedStream> {
  const request = typeof options === 'string' ? { url: options } : options
  const response = await app.inject({ ...request, headers: { accept: 'text/event-stream', ...request.headers }, payloadAsStream: true })
  const { statusCode, headers } = response
  const stream = new Injected({ statusCode, headers, leave: () => { response.raw.res.destroy() } })
  void stream.read(response.stream())
  return stream
}

class Injected implements InjectedStream {
  readonly statusCode: number
  readonly headers: InjectedStream['headers']
  readonly events: InjectedEvent[] = []
  text = ''
  retryMs: number | undefined
  #taken = 0
  #isOver = false
  #lastId: string | undefined
  readonly #wakes: (() => void)[] = []
  readonly #leave: () => void

  constructor ({ statusCode, headers, leave }: { statusCode: number, headers: InjectedStream['headers'], leave: () => void }) {
    this.statusCode = statusCode
    this.headers = headers
    this.#leave = leave
  }

  async read (body: AsyncIterable<Buffer>): Promise<void> {
    const parser = createParser({
      onEvent: ({ id, event = 'message', data }) => {
        this.#lastId = id ?? this.#lastId
        this.events.push({ id: this.#lastId, event, data })
      },
      onRetry: retryMs => { this.retryMs = retryMs }
    })
    const decoder = new TextDecoder()
    try {
      for await (const chunk of body) {
        const text = decoder.decode(chunk, { stream: true })
        this.text += text
        parser.feed(text)
        this.#tell()
      }
    } catch {
      // The stream was cut, by close() or by the server: for a client that is its end.
    }
    this.#isOver = true
    this.#tell()
  }

  async next (count = 1): Promise<InjectedEvent[]> {
    const wanted = this.#taken += count
    while (this.events.length < wanted) {
      if (this.#isOver) throw new Error(`the stream ended after ${this.events.length} events, ${wanted} were waited for`)
      await this.#more()
    }
    return this.events.slice(wanted - count, wanted)
  }

  async end (): Promise<InjectedEvent[]> {
    while (!this.#isOver) await this.#more()
    return this.events
  }

  close (): void {
    if (!this.#isOver) this.#leave()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<InjectedEvent> {
    while (!this.#isOver || this.#taken < this.events.length) {
      if (this.#taken < this.events.length) yield this.events[this.#taken++]!
      else await this.#more()
    }
  }

  #more (): Promise<void> {
    return new Promise(resolve => { this.#wakes.push(resolve) })
  }

  #tell (): void {
    for (const wake of this.#wakes.splice(0)) wake()
  }
}
