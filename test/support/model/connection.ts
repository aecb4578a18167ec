import { EventEmitter } from 'node:events'
import { createParser } from 'eventsource-parser'
import { defaults } from '../../../plugin/reply/options.ts'
import { ReplyStream } from '../../../plugin/reply/stream/reply-stream.ts'
import type { RawResponse } from '../../../plugin/reply/response/transport.ts'
import { encodeEvent } from '../../../plugin/reply/wire.ts'
import type { TopicSource } from '../../../plugin/topics/subscription/subscription.ts'

/** A client's connection, of any kind; `stop` makes it read nothing until `go`. */
export interface ModelConnection {
  readonly isOpen: boolean
  /** True if the client was told that nothing follows: 204 for a stream. */
  readonly isRefused: boolean
  readonly failure: unknown
  cut: () => void
  stop: () => void
  go: () => void
}

/** One event as the client's parser returns it. */
export interface Received { id: string | undefined, event: string | undefined, data: string }

/**
 * The client's end of a response, with a network that can be stopped: data written then waits, and is lost if the
 * connection is cut. It replaces only the socket; the stream above is real.
 */
class Network extends EventEmitter {
  destroyed = false
  writableEnded = false
  readonly socket = {}
  writableLength = 0
  #isStopped = false
  #waiting: Buffer[] = []
  readonly #deliver: (chunk: Buffer) => void

  constructor (deliver: (chunk: Buffer) => void) {
    super()
    this.#deliver = deliver
  }

  write (chunk: Buffer): boolean {
    if (!this.#isStopped) this.#deliver(chunk)
    else {
      this.#waiting.push(chunk)
      this.writableLength += chunk.length
    }
    return !this.#isStopped
  }

  hasHeader (): boolean { return false }

  end (): void {
    this.writableEnded = true
    if (!this.#isStopped) this.destroy()
  }

  stop (): void { this.#isStopped = true }

  go (): void {
    this.#isStopped = false
    for (const chunk of this.#waiting.splice(0)) this.#deliver(chunk)
    this.writableLength = 0
    if (this.writableEnded) this.destroy()
    else this.emit('drain')
  }

  destroy (): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
}

/** A client's connection to a subscription, without HTTP: the real stream and reader over a simulated network. */
export class Connection implements ModelConnection {
  readonly #network: Network
  readonly #stream: ReplyStream
  /** The server responded with 204: the client must stop. */
  isRefused = false

  constructor (subscription: TopicSource, lastEventId: string | undefined, onEvent: (event: Received) => void) {
    const parser = createParser({ onEvent: ({ id, event, data }) => onEvent({ id, event, data }) })
    const network = new Network(chunk => { if (!network.destroyed) parser.feed(chunk.toString()) })
    this.#network = network
    const nothing = (): void => {}
    this.#stream = new ReplyStream({
      raw: network as unknown as RawResponse,
      options: { ...defaults, highWaterMarkBytes: 1 },
      lastEventId,
      encode: event => encodeEvent(event),
      checkTopics: nothing,
      onAttach: nothing,
      onClosed: nothing,
      onOver: nothing,
      onGone: nothing
    })
    this.#stream.listen()
    this.#run(subscription).catch(error => { this.failure = error })
  }

  failure: unknown

  get isOpen (): boolean { return this.#stream.isOpen }
  cut (): void { this.#network.destroy() }
  stop (): void { this.#network.stop() }
  go (): void { this.#network.go() }

  async #run (subscription: TopicSource): Promise<void> {
    try {
      const run = await subscription.open(this.#stream)
      if (!run) {
        this.isRefused = true
        return this.cut()
      }
      if (this.#network.destroyed) return
      const running = run()
      setImmediate(() => { if (!this.#network.destroyed) this.#stream.attach() })
      await running
      this.#stream.end()
    } catch (error) {
      // If the log is unavailable before the first byte, the client is asked to reconnect.
      this.cut()
      if ((error as { statusCode?: number }).statusCode !== 503) throw error
    }
  }
}
