import type { SseStream } from './stream.ts'
import { MAX_RETRY_MS } from './wire.ts'

const TICK_MS = 10
const MIN_BATCH = 50
const MIN_SPREAD_MS = 1_000

/**
 * The open streams of one Fastify instance, and how they are let go when it closes.
 *
 * While an instance closes it answers every new request with 503, which ends an EventSource for good. So each client is
 * told a `retry:` of its own that lies behind the drain window, spread over one more window so that they do not return
 * together; and the ends are paced, so that ending many streams does not hold the loop.
 */
export class StreamRegistry {
  readonly #streams = new Set<SseStream>()
  readonly #drainMs: number
  #isDraining = false
  #deadline = 0
  #onEmpty: (() => void) | undefined

  constructor (drainMs: number) {
    this.#drainMs = drainMs
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
    this.#deadline = performance.now() + this.#drainMs
    if (this.#streams.size === 0) return
    this.#endInBatches([...this.#streams])
    await this.#emptyOrLate()
    for (const stream of this.#streams) stream.destroy('shutdown')
  }

  #emptyOrLate (): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, this.#drainMs)
      this.#onEmpty = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #endInBatches (streams: SseStream[]): void {
    const batch = Math.max(MIN_BATCH, Math.ceil(streams.length / Math.max(1, this.#drainMs / 2 / TICK_MS)))
    for (const stream of streams.splice(0, batch)) this.#sendAway(stream)
    if (streams.length > 0) setTimeout(() => this.#endInBatches(streams), TICK_MS)
  }

  #sendAway (stream: SseStream): void {
    const remaining = Math.max(0, this.#deadline - performance.now())
    const spread = Math.max(MIN_SPREAD_MS, this.#drainMs)
    stream.closeWithRetry('shutdown', Math.min(MAX_RETRY_MS, Math.round(remaining + Math.random() * spread)))
  }
}
