import type { SseStream } from './stream.ts'
import { MAX_RETRY_MS } from './wire.ts'

const TICK_MS = 10
const MIN_BATCH = 50
/** No client comes back earlier, so that the connection it was on is closed and a load balancer has noticed. */
const MIN_RETRY_MS = 1_000
/** Clients come back over at least this time, and no faster than one in `MS_PER_CLIENT`. */
const MIN_SPREAD_MS = 2_000
const MS_PER_CLIENT = 1

/** How the streams of an instance end when it closes. */
export interface DrainInit {
  /** Streams are ended within this time, and what is left then is destroyed. */
  drainMs: number
  /** True when requests are answered until the instance is closed (Fastify's `return503OnClosing: false`). */
  answersWhileClosing: boolean
}

/**
 * The open streams of one Fastify instance, and how they are let go when it closes.
 *
 * Each client gets a `retry:` of its own, drawn from a window that grows with the number of streams: a few clients come
 * back after 1 to 3 s, 20,000 within 21 s. The ends are paced, so that ending many streams does not hold the event
 * loop.
 *
 * While a Fastify instance closes it answers every new request with 503, which ends an EventSource for good. So where
 * the drain will last (a client that does not take its bytes is waited for), the window begins at the end of the drain,
 * unless the application says that it answers until then.
 */
export class StreamRegistry {
  readonly #streams = new Set<SseStream>()
  readonly #init: DrainInit
  #isDraining = false
  /** When the first client may come back, and over which time all of them do. */
  #returnsFrom = 0
  #spreadMs = MIN_SPREAD_MS
  #onEmpty: (() => void) | undefined

  constructor (init: DrainInit) {
    this.#init = init
  }

  /** Takes a stream in, started or not; during a drain it is sent away at once. Taking it in again does nothing. */
  add (stream: SseStream): void {
    this.#streams.add(stream)
    if (this.#isDraining) this.#sendAway(stream)
  }

  remove (stream: SseStream): void {
    this.#streams.delete(stream)
    if (this.#streams.size === 0) this.#onEmpty?.()
  }

  /** Ends all streams, waits for them to flush, and cuts those that did not by the end of the window. */
  async drain (): Promise<void> {
    this.#isDraining = true
    const streams = [...this.#streams]
    this.#planReturns(streams)
    if (streams.length === 0) return
    this.#endInBatches(streams, this.#batchOf(streams.length))
    await this.#emptyOrLate()
    for (const stream of this.#streams) stream.destroy('shutdown')
  }

  #emptyOrLate (): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, this.#init.drainMs)
      this.#onEmpty = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #planReturns (streams: readonly SseStream[]): void {
    const { drainMs, answersWhileClosing } = this.#init
    const willLast = streams.some(({ bufferedBytes }) => bufferedBytes > 0)
    const pacedMs = TICK_MS * Math.floor(streams.length / this.#batchOf(streams.length))
    this.#returnsFrom = performance.now() + MIN_RETRY_MS + (willLast && !answersWhileClosing ? drainMs : pacedMs)
    this.#spreadMs = Math.max(MIN_SPREAD_MS, streams.length * MS_PER_CLIENT)
  }

  /** Streams that are ended at one time, so that all are within half of the drain. */
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
