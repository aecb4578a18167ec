import type { CloseReason, SseStream } from 'fastify-resumable-sse'

/** The owner of a stream, and when it was opened. */
export interface OpenStream {
  readonly stream: SseStream
  /** Undefined without authentication. */
  readonly subject: string | undefined
  /** By the monotonic clock, in ms. */
  readonly since: number
}

/**
 * Open and past streams of this process, counted outside the hot path: when they begin, when they end, and on request.
 */
export class OpenStreams {
  readonly #open = new Map<SseStream, OpenStream>()
  readonly #past = { events: 0, bytes: 0 }
  /** Streams that have ended, by reason. */
  readonly closed = new Map<CloseReason, number>()
  /** Streams that never began, by the error code of their rejection. */
  readonly rejected = new Map<string, number>()
  #opened = 0

  /** Streams open now. */
  get size (): number { return this.#open.size }
  /** Streams that have ever begun. */
  get opened (): number { return this.#opened }

  /** Events and bytes written to all streams so far. */
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

  reject (code: string): void {
    this.rejected.set(code, (this.rejected.get(code) ?? 0) + 1)
  }

  #over (stream: SseStream, reason: CloseReason): void {
    const { events, bytes } = stream.written
    this.#open.delete(stream)
    this.#past.events += events
    this.#past.bytes += bytes
    this.closed.set(reason, (this.closed.get(reason) ?? 0) + 1)
  }
}
