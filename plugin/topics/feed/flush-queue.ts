/** Work that can be done in parts. */
export interface Flushable {
  /** Does a limited part of the work; returns true if there is more. */
  flush: () => boolean
}

/** How long feeds are flushed before the event loop runs other tasks. */
const SLICE_MS = 5

/**
 * Feeds with pending items, in order of arrival. One event may be pending in as many feeds as there are clients, each
 * with different topics: they are flushed in slices of a few milliseconds, so that the process stays responsive.
 */
export class FlushQueue {
  readonly #waiting = new Set<Flushable>()
  #isScheduled = false

  add (feed: Flushable): void {
    this.#waiting.add(feed)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => { this.#run() })
  }

  delete (feed: Flushable): void {
    this.#waiting.delete(feed)
  }

  #run (): void {
    const endMs = performance.now() + SLICE_MS
    this.#isScheduled = false
    for (const feed of this.#waiting) {
      this.#waiting.delete(feed)
      if (feed.flush()) this.add(feed)
      if (performance.now() >= endMs) break
    }
    const [next] = this.#waiting
    if (next) this.add(next)
  }
}
