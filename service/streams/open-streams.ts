import type { CloseReason, SseStream } from 'fastify-resumable-sse'

/** Whose stream it is, and since when. */
export interface OpenStream {
  readonly stream: SseStream
  /** Undefined where nobody is authenticated. */
  readonly subject: string | undefined
  /** By the monotonic clock, in ms. */
  readonly since: number
}

/** What the streams of this process are and were, counted where nothing is hot: at their beginning, at their end, and when somebody asks. */
export class OpenStreams {
  readonly #open = new Map<SseStream, OpenStream>()
  readonly #past = { events: 0, bytes: 0 }
  /** Streams that are over, by reason. */
  readonly closed = new Map<CloseReason, number>()
  /** Streams that never began, by the code of what refused them. */
  readonly refused = new Map<string, number>()
  #opened = 0

  /** Streams open now. */
  get size (): number { return this.#open.size }
  /** Streams that ever began. */
  get opened (): number { return this.#opened }

  /** Events and bytes written to all streams that ever were. */
  get written (): { events: number, bytes: number } {
    const sum = { ...this.#past }
    for (const { written } of this.#open.keys()) {
      sum.events += written.events
      sum.bytes += written.bytes
    }
    return sum
  }

  /** The open streams, oldest first. */
  all (): Iterable<OpenStream> { return this.#open.values() }

  /** A stream begins. */
  add (stream: SseStream, subject?: string): void {
    this.#opened++
    this.#open.set(stream, { stream, subject, since: performance.now() })
    void stream.closed.then(reason => this.#over(stream, reason))
  }

  refuse (code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1)
  }

  #over (stream: SseStream, reason: CloseReason): void {
    const { events, bytes } = stream.written
    this.#open.delete(stream)
    this.#past.events += events
    this.#past.bytes += bytes
    this.closed.set(reason, (this.closed.get(reason) ?? 0) + 1)
  }
}
