import type { SseStream } from './sse-stream.ts'

const NONE: ReadonlySet<SseStream> = new Set()

/** Streams by a key. Most keys have a single stream, which is stored without a set. */
export class StreamIndex {
  readonly #streams = new Map<string, SseStream | Set<SseStream>>()

  /**
   * The streams of a key, oldest first; none for an unknown key. Do not keep the set, which may or may not change
   * later.
   */
  of (key: string): ReadonlySet<SseStream> {
    const known = this.#streams.get(key)
    if (known === undefined) return NONE
    return known instanceof Set ? known : new Set([known])
  }

  add (key: string, stream: SseStream): void {
    const known = this.#streams.get(key)
    if (known === undefined) this.#streams.set(key, stream)
    else if (known instanceof Set) known.add(stream)
    else this.#streams.set(key, new Set([known, stream]))
  }

  delete (key: string, stream: SseStream): void {
    const known = this.#streams.get(key)
    if (!(known instanceof Set)) this.#streams.delete(key)
    else if (known.delete(stream) && known.size === 0) this.#streams.delete(key)
  }
}
