import { errors } from '../errors.ts'

/** Maximum numbers for streams, see `StreamLimitsInit`; `maxStreams` 0 means no limit. */
export interface LiveLimitsInit { maxStreams: number, maxTopics: number }

/**
 * Limits the live publishes of this process. Each lasts as long as its client likes, keeps some 30 KB and follows its
 * topic; over HTTP/2 a thousand of them need one connection. Producers take at most half of the topics that may be
 * followed, and one publisher at most half of the places.
 */
export class LiveLimits {
  readonly #max: number
  readonly #ofPublisher = new Map<string, number>()
  #taken = 0

  constructor ({ maxStreams, maxTopics }: LiveLimitsInit) {
    this.#max = atLeastOne(Math.min(maxStreams || Infinity, maxTopics / 2))
  }

  /**
   * Takes a place; the returned function gives it back, and must be called once. Throws `SERVICE_TOO_MANY_PRODUCERS`
   * and `SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER`.
   */
  take (publisher: string): () => void {
    const own = this.#ofPublisher.get(publisher) ?? 0
    const maxOwn = atLeastOne(this.#max / 2)
    if (own >= maxOwn) throw new errors.SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER(maxOwn)
    if (this.#taken >= this.#max) throw new errors.SERVICE_TOO_MANY_PRODUCERS(this.#max)
    this.#change(publisher, 1)
    return () => { this.#change(publisher, -1) }
  }

  #change (publisher: string, change: 1 | -1): void {
    this.#taken += change
    const own = (this.#ofPublisher.get(publisher) ?? 0) + change
    if (own > 0) this.#ofPublisher.set(publisher, own)
    else this.#ofPublisher.delete(publisher)
  }
}

const atLeastOne = (count: number): number => Math.max(1, Math.floor(count))
