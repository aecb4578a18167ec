import type * as EventSourceParser from 'eventsource-parser'
import { checkOptions, integer } from '../common/option-check.ts'
import { MAX_TIMER_MS } from '../common/timers.ts'
import { requirePeer } from '../common/peer.ts'
import { errors } from '../reply/errors.ts'
import type { FastifyInstance, InjectOptions } from 'fastify'

type Parser = typeof EventSourceParser

/** One event as a client would see it. */
export interface InjectedEvent {
  /** Last event id at this event, carried over from earlier ones; undefined if none was sent yet. */
  id: string | undefined
  /** `message` if the server sent no name. */
  event: string
  data: string
}

/** A stream opened by `injectSse`. Iterating it yields the events in order and ends with the stream. */
export interface InjectedStream extends AsyncIterable<InjectedEvent> {
  statusCode: number
  headers: Record<string, number | string | string[] | undefined>
  /** All events received so far. */
  events: InjectedEvent[]
  /** All text received so far, comments included. */
  text: string
  /** The last `retry:` received, in ms. */
  retryMs: number | undefined
  /**
   * Waits for the next `count` events (default 1). Calls made at the same time receive successive events.
   * Rejects when the stream ends first, and when `timeoutMs` has passed (see `InjectSseOptions`).
   */
  next: (count?: number) => Promise<InjectedEvent[]>
  /** Waits for the end of the stream and returns all its events. Rejects when `timeoutMs` has passed. */
  end: () => Promise<InjectedEvent[]>
  /** Disconnects, as a client that closes its connection. Does nothing when the stream has ended. */
  close: () => void
}

export interface InjectSseOptions {
  /**
   * How long `next()` and `end()` wait, in ms, before they reject with what has arrived so far. 0 waits
   * without a limit. Default 0.
   */
  timeoutMs?: number | undefined
}

const CHECKS = { timeoutMs: integer(0, MAX_TIMER_MS, 'ms') }

/**
 * Opens a stream in a test without a socket, through `app.inject`, and parses what it sends. Resolves when the headers
 * have arrived, whatever the status. Close the stream, or let it end. Rejects with `FST_SSE_BAD_OPTION` for an option
 * that is unknown or out of range.
 */
export async function injectSse (
  app: FastifyInstance, options: InjectOptions | string, given: InjectSseOptions = {}
): Promise<InjectedStream> {
  checkOptions(given, CHECKS, (name, range, seen) => new errors.FST_SSE_BAD_OPTION('injectSse', name, range, seen))
  const { timeoutMs = 0 } = given
  // Loaded here, because the contract suites in this folder do not need the parser.
  const { createParser } = requirePeer<Parser>('eventsource-parser', 'injectSse')
  const request = typeof options === 'string' ? { url: options } : options
  const headersSent = { accept: 'text/event-stream', ...request.headers }
  const response = await app.inject({ ...request, headers: headersSent, payloadAsStream: true })
  const { statusCode, headers } = response
  const leave = (): void => { response.raw.res.destroy() }
  const stream = new Injected({ createParser, statusCode, headers, timeoutMs, leave })
  void stream.read(response.stream())
  return stream
}

interface InjectedInit extends Pick<InjectedStream, 'statusCode' | 'headers'> {
  createParser: Parser['createParser']
  timeoutMs: number
  leave: () => void
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
  readonly #createParser: Parser['createParser']
  readonly #leave: () => void
  readonly #timeoutMs: number

  constructor ({ createParser, statusCode, headers, timeoutMs, leave }: InjectedInit) {
    this.#createParser = createParser
    this.#timeoutMs = timeoutMs
    this.statusCode = statusCode
    this.headers = headers
    this.#leave = leave
  }

  async read (body: AsyncIterable<Buffer>): Promise<void> {
    const parser = this.#createParser({
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
        this.#wake()
      }
    } catch {
      // The stream was aborted by close() or by the server, which is a normal end for a client.
    }
    this.#isOver = true
    this.#wake()
  }

  next (count = 1): Promise<InjectedEvent[]> {
    const wanted = this.#taken += count
    return this.#inTime(`event ${wanted}`, this.#upTo(wanted, count))
  }

  async #upTo (wanted: number, count: number): Promise<InjectedEvent[]> {
    while (this.events.length < wanted) {
      const arrived = this.events.length
      if (this.#isOver) throw new Error(`the stream ended after ${arrived} events, ${wanted} were waited for`)
      await this.#more()
    }
    return this.events.slice(wanted - count, wanted)
  }

  end (): Promise<InjectedEvent[]> {
    return this.#inTime('the end', this.#untilOver())
  }

  async #untilOver (): Promise<InjectedEvent[]> {
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

  async #inTime<T> (what: string, work: Promise<T>): Promise<T> {
    if (this.#timeoutMs === 0) return work
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((resolve, reject) => {
      const late = `${what} did not arrive within ${this.#timeoutMs} ms; so far: `
      const fail = (): void => reject(new Error(late + JSON.stringify(this.events)))
      timer = setTimeout(fail, this.#timeoutMs)
    })
    try {
      return await Promise.race([work, timeout])
    } finally {
      clearTimeout(timer)
    }
  }

  #more (): Promise<void> {
    return new Promise(resolve => { this.#wakes.push(resolve) })
  }

  #wake (): void {
    for (const wake of this.#wakes.splice(0)) wake()
  }
}
