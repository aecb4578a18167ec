import type { LogEntry, TopicListener } from 'fastify-resumable-sse/topics'
import type { SeenTopics } from './seen-topics.ts'

/** A listener that records the newest entry, and forwards everything. */
export class SeeingListener implements TopicListener {
  readonly #topic: string
  readonly #listener: TopicListener
  readonly #seen: SeenTopics

  constructor (topic: string, listener: TopicListener, seen: SeenTopics) {
    this.#topic = topic
    this.#listener = listener
    this.#seen = seen
  }

  onEntries (entries: readonly LogEntry[]): void {
    const newest = entries.at(-1)
    if (newest !== undefined) this.#seen.see(this.#topic, newest.id)
    this.#listener.onEntries(entries)
  }

  onClosed (): void { this.#listener.onClosed() }
  onResync (): void { this.#listener.onResync() }
  onStop (fence: number): void { this.#listener.onStop(fence) }
}
