import type { StreamRegistry } from './open-streams.ts'
import type { SseStream } from './sse-stream.ts'
import { MAX_RETRY_MS } from '../wire.ts'

const TICK_MS = 10
const MIN_BATCH = 50
/** No client returns earlier than this, so that its connection is closed and load balancers have noticed. */
const MIN_RETRY_MS = 1_000
/** Clients return over at least this time, and no faster than one per `MS_PER_CLIENT`. */
const MIN_SPREAD_MS = 2_000
const MS_PER_CLIENT = 1

/** How the streams of an instance end when it closes. */
export interface DrainInit {
  /** Streams are ended within this time, and those that remain are destroyed. */
  drainMs: number
  /** True if requests are answered until the instance is closed (Fastify's `return503OnClosing: false`). */
  answersWhileClosing: boolean
}

/**
 * Ends the streams of an app when it closes.
 *
 * Each client gets its own `retry:`, drawn from a window that grows with the number of streams: a few clients return
 * after 1 to 3 s, 20,000 within 21 s. The ends are spread out, so that ending many streams does not block the event
 * loop.
 *
 * While a Fastify instance closes it answers every new request with 503, which ends an EventSource permanently. So if
 * the drain is going to last (because a client does not receive its bytes), the window starts at the end of the drain,
 * unless the application declares that it answers until then.
 */
export class StreamDrain {
  readonly #registry: StreamRegistry
  readonly #init: DrainInit
  /** When the first client may return, and over what time all of them do. */
  #returnsFrom = 0
  #spreadMs = MIN_SPREAD_MS

  constructor (registry: StreamRegistry, init: DrainInit) {
    this.#registry = registry
    this.#init = init
  }

  /**
   * Ends all streams, waits for them to be flushed, and cuts those that are not by the end of the window. Streams that
   * start from now on are ended immediately.
   */
  async drain (): Promise<void> {
    const streams = this.#registry.unfinished
    this.#planReturns(streams)
    const flushed = new Promise<void>(resolve => {
      this.#registry.watch({ onAdd: stream => this.#sendAway(stream), onEmpty: resolve })
    })
    if (streams.length === 0) return
    this.#endInBatches(streams, this.#batchOf(streams.length))
    await this.#orLate(flushed)
    for (const stream of this.#registry.unfinished) stream.destroy('shutdown')
  }

  async #orLate (flushed: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => { timer = setTimeout(resolve, this.#init.drainMs) })
    await Promise.race([flushed, late])
    clearTimeout(timer)
  }

  #planReturns (streams: readonly SseStream[]): void {
    const { drainMs, answersWhileClosing } = this.#init
    const willLast = streams.some(({ bufferedBytes }) => bufferedBytes > 0)
    const pacedMs = TICK_MS * Math.floor(streams.length / this.#batchOf(streams.length))
    this.#returnsFrom = performance.now() + MIN_RETRY_MS + (willLast && !answersWhileClosing ? drainMs : pacedMs)
    this.#spreadMs = Math.max(MIN_SPREAD_MS, streams.length * MS_PER_CLIENT)
  }

  /** The number of streams ended at once, so that all are ended within half of the drain. */
  #batchOf (streams: number): number {
    return Math.max(MIN_BATCH, Math.ceil(streams / Math.max(1, this.#init.drainMs / 2 / TICK_MS)))
  }

  #endInBatches (streams: SseStream[], batch: number): void {
    for (const stream of streams.splice(0, batch)) this.#sendAway(stream)
    if (streams.length > 0) setTimeout(() => this.#endInBatches(streams, batch), TICK_MS)
  }

  #sendAway (stream: SseStream): void {
    const remainingMs = Math.max(MIN_RETRY_MS, this.#returnsFrom - performance.now())
    stream.closeWithRetry('shutdown', Math.min(MAX_RETRY_MS, Math.round(remainingMs + Math.random() * this.#spreadMs)))
  }
}
