import type { CloseReason } from 'fastify-resumable-sse'

/** What the limits need of a stream. */
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
  /** When it was taken, by the monotonic clock. */
  readonly since: number
}

/** Places looked at for one that should go, so that an owner of many streams makes no request expensive. */
const MAX_LOOKED_AT = 100

/** The places of each owner, the oldest first. Owners without one are not remembered. */
export class Places {
  readonly #byOwner = new Map<string, Set<Place>>()

  get owners (): number { return this.#byOwner.size }

  count (owner: string): number { return this.#byOwner.get(owner)?.size ?? 0 }

  add (owner: string, place: Place): void {
    const places = this.#byOwner.get(owner)
    if (places) places.add(place)
    else this.#byOwner.set(owner, new Set([place]))
  }

  /** False when it is not there. */
  delete (owner: string, place: Place): boolean {
    const places = this.#byOwner.get(owner)
    if (!places?.delete(place)) return false
    if (places.size === 0) this.#byOwner.delete(owner)
    return true
  }

  /**
   * Among the oldest that may go: the first whose client does not take its bytes, or else the oldest; undefined when
   * none may.
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

  /** Different topics of an owner's streams but one, together with these. */
  topicsWith (owner: string, topics: readonly string[], without: Place | undefined): number {
    const all = new Set(topics)
    for (const place of this.#byOwner.get(owner) ?? []) {
      if (place !== without) for (const topic of place.topics) all.add(topic)
    }
    return all.size
  }
}
