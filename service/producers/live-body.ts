import type { ServerHttp2Stream } from 'node:http2'
import { Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'
import type { FastifyRequest, RequestPayload } from 'fastify'
import type { CheckedEvent, Turns } from 'fastify-resumable-sse/topics'
import { busy } from '../http/bodies/byte-budget.ts'
import type { ByteBudget } from '../http/bodies/byte-budget.ts'
import { errors } from '../errors.ts'
import type { LineFormat } from './formats.ts'
import type { Line, LineSplitter } from './lines.ts'

/** How soon after the end of a body the reset of its stream arrives, in ms. */
const RESET_MS = 20

export interface LiveBodyInit {
  /** Shared with all other bodies. */
  budget: ByteBudget
  /** How long a client may send nothing while it is waited for. */
  silentMs: number
  /** Shared with all other live bodies: lines that complete no event cost time, too. */
  turns: Turns
}

/**
 * A body that arrives over time. Passes it on and counts the bytes that were received and are not in the log yet; a
 * slow log holds the client back. `interrupt` ends it early; the connection stays open for the response.
 */
export class LiveBody extends Transform {
  readonly #init: LiveBodyInit
  /** The HTTP/2 stream, if any. */
  readonly #stream: ServerHttp2Stream | undefined
  #heldBytes = 0
  /** Bytes of lines read since the last event, except lines that belong to no event. */
  #lineBytes = 0
  /** Bytes of the events that are not in the log yet, oldest first. */
  readonly #pending: number[] = []
  /** Number of events in the log; more than were read if events are being skipped. */
  #settled = 0
  #released = 0
  #isOver = false

  constructor (payload: RequestPayload, { raw }: FastifyRequest, init: LiveBodyInit) {
    super()
    this.#init = init
    this.#stream = (raw as { stream?: ServerHttp2Stream }).stream
    this.on('error', () => {})
    payload.on('error', error => { this.interrupt(error) })
    raw.once('aborted', () => { this.interrupt(new errors.SERVICE_ABORTED()) })
    payload.pipe(this)
  }

  /** Ends the body; what was not read yet is dropped. */
  interrupt (error: Error): void { this.destroy(error) }

  /**
   * Releases all reserved bytes; call it when the request is over. Lines that have been received by then may still be
   * read, and release nothing.
   */
  release (): void {
    this.#giveBack(this.#heldBytes)
    this.#isOver = true
    this.#pending.length = 0
    this.destroy()
  }

  /** The first `count` events are in the log. */
  settle (count: number): void {
    this.#settled = count
    for (; this.#released < count && this.#pending.length > 0; this.#released++) this.#giveBack(this.#pending.shift()!)
  }

  /** The events of the body. Throws what is wrong with it, and what it was interrupted with. */
  async * events (lines: LineSplitter, format: LineFormat): AsyncGenerator<CheckedEvent, void> {
    const { turns } = this.#init
    for await (const chunk of this.#chunks()) {
      for (const line of lines.add(chunk)) {
        const event = this.#read(line, format)
        if (event) yield event
        else if (turns.mustPause()) await turns.next()
      }
    }
    for (const line of lines.end()) {
      const event = this.#read(line, format)
      if (event) yield event
    }
  }

  /** The event that the line completes, if any. */
  #read (line: Line, format: LineFormat): CheckedEvent | undefined {
    this.#lineBytes += line.bytes
    const event = format.add(line)
    const { heldBytes } = format
    if (event) this.#pending.push(this.#lineBytes)
    else this.#giveBack(this.#lineBytes - heldBytes)
    this.#lineBytes = heldBytes
    if (event) this.settle(this.#settled)
    return event
  }

  /** The client is waited for between two chunks, and not while the log is. */
  async * #chunks (): AsyncGenerator<Buffer, void> {
    const { silentMs } = this.#init
    const watch = (): NodeJS.Timeout =>
      setTimeout(() => { this.interrupt(new errors.SERVICE_PRODUCER_SILENT(silentMs)) }, silentMs).unref()
    let timer = watch()
    try {
      for await (const chunk of this as AsyncIterable<Buffer>) {
        clearTimeout(timer)
        yield chunk
        timer = watch()
      }
    } finally {
      clearTimeout(timer)
    }
  }

  override _transform (chunk: Buffer, encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.#init.budget.take(chunk.length, this.#heldBytes)) return done(busy())
    this.#heldBytes += chunk.length
    done(null, chunk)
  }

  /**
   * A request of HTTP/2 that is broken off can end like a complete one: Node's client ends the body before it resets
   * the stream. Nobody waits for a response then, and the stream is closed a moment later.
   */
  override _flush (done: TransformCallback): void {
    const stream = this.#stream
    if (!stream) return done()
    setTimeout(() => { done(stream.closed ? new errors.SERVICE_ABORTED() : null) }, RESET_MS)
  }

  #giveBack (bytes: number): void {
    if (this.#isOver) return
    this.#init.budget.giveBack(bytes)
    this.#heldBytes -= bytes
  }
}
