import type { EventId } from 'fastify-resumable-sse/topics'

/** Maximum number of topics that are remembered; beyond it, the least recently active are forgotten. */
const MAX_SEEN = 1_000

/** A topic, and the id of its newest event that this process knows. */
export interface SeenTopic { readonly topic: string, readonly last: EventId }

/**
 * The topics that this process has published to or followed since its start. The numbers of a topic's events are dense,
 * so two readings give the number of events published in between, on any process.
 */
export class SeenTopics {
  /** Least recently active first. */
  readonly #last = new Map<string, EventId>()

  get size (): number { return this.#last.size }

  /** Called when a topic is followed or has a new event. An older event than the newest known one changes nothing. */
  see (topic: string, last: EventId): void {
    const known = this.#last.get(topic)
    if (known !== undefined && known.n > last.n) return
    this.#last.delete(topic)
    this.#last.set(topic, last)
    if (this.#last.size > MAX_SEEN) this.#last.delete(this.#last.keys().next().value!)
  }

  forget (topic: string): void {
    this.#last.delete(topic)
  }

  /** Most recently active first. */
  newest (): SeenTopic[] {
    return Array.from(this.#last, ([topic, last]) => ({ topic, last })).reverse()
  }
}
