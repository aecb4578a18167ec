import type { LogLogger, TopicListener } from './topic-log.ts'

/**
 * The listeners of a log, one for each followed topic. An exception in a listener affects neither the log, which has
 * already stored the events, nor the listeners of other topics; it is reported to the log's logger.
 */
export class TopicListeners {
  readonly #listeners = new Map<string, TopicListener>()
  #logger: LogLogger | undefined

  /** Reports to this logger from now on; before this call nothing is reported. */
  start (logger: LogLogger | undefined): void {
    this.#logger = logger
  }

  /** Replaces the topic's listener. */
  set (topic: string, listener: TopicListener): void {
    this.#listeners.set(topic, listener)
  }

  /** Returns false, and changes nothing, if the topic has another listener. */
  delete (topic: string, listener: TopicListener): boolean {
    return this.#listeners.get(topic) === listener && this.#listeners.delete(topic)
  }

  clear (): void {
    this.#listeners.clear()
  }

  /** Calls `report` with the topic's listener, if it has one. Does not throw. */
  tell (topic: string, report: (listener: TopicListener) => void): void {
    const listener = this.#listeners.get(topic)
    if (!listener) return
    try {
      report(listener)
    } catch (err) {
      this.#logger?.error({ err, topic }, 'a listener of a topic failed')
    }
  }
}
