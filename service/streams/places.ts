import type { CloseReason } from 'fastify-resumable-sse'

/** What the limits need to know of a stream. */
export interface LimitedStream {
  /** Bytes that wait for its client. */
  readonly bufferedBytes: number
  closeWithRetry: (reason: CloseReason, retryMs: number) => void
}

/** One open stream, as the limits see it. */
export interface Place {
  readonly address: string
  readonly subject: string | undefined
  readonly stream: LimitedStream
  readonly topics: readonly string[]
  /** When it was opened, by the monotonic clock. */
  readonly since: number
}

/**
 * Maximum number of streams examined for one to replace, so that an owner of many streams makes no request expensive.
 */
const MAX_LOOKED_AT = 100

/** The streams of each owner, oldest first. Owners without streams are not kept. */
export class Places {
  readonly #byOwner = new Map<string, Set<Place>>()

  get owners (): number { return this.#byOwner.size }

  count (owner: string): number { return this.#byOwner.get(owner)?.size ?? 0 }

  add (owner: string, place: Place): void {
    const places = this.#byOwner.get(owner)
    if (places) places.add(place)
    else this.#byOwner.set(owner, new Set([place]))
  }

  /** Returns false if it is not in the list. */
  delete (owner: string, place: Place): boolean {
    const places = this.#byOwner.get(owner)
    if (!places?.delete(place)) return false
    if (places.size === 0) this.#byOwner.delete(owner)
    return true
  }

  /**
   * Among the oldest replaceable streams, the first whose client does not read, otherwise the oldest; undefined if none
   * is replaceable.
   */
  choose (owner: string, mayGo: (place: Place) => boolean): Place | undefined {
    let oldest: Place | undefined
    let lookedAt = 0
    for (const place of this.#byOwner.get(owner) ?? []) {
      if (++lookedAt > MAX_LOOKED_AT) break
      if (!mayGo(place)) continue
      if (place.stream.bufferedBytes > 0) return place
      oldest ??= place
    }
    return oldest
  }

  /** The number of different topics of an owner's streams except one, together with these topics. */
  topicsWith (owner: string, topics: readonly string[], without: Place | undefined): number {
    const all = new Set(topics)
    for (const place of this.#byOwner.get(owner) ?? []) {
      if (place !== without) for (const topic of place.topics) all.add(topic)
    }
    return all.size
  }
}
