/**
 * A `fetch` that records what a subscription does not expose: when bytes arrive, including heartbeats, and how many.
 */
export class WatchedFetch {
  #bytes = 0
  #lastByteAt: number | undefined

  /** Total bytes of all bodies. */
  get bytes (): number { return this.#bytes }
  /** By the monotonic clock, in ms; undefined before the first byte. */
  get lastByteAt (): number | undefined { return this.#lastByteAt }

  /** Replaces the global function. */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init)
    this.#lastByteAt = undefined
    if (response.body === null) return response
    const body = response.body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        this.#note(chunk.length)
        controller.enqueue(chunk)
      }
    }))
    const { status, statusText, headers } = response
    return new Response(body, { status, statusText, headers })
  }

  #note (bytes: number): void {
    this.#lastByteAt = performance.now()
    this.#bytes += bytes
  }
}
