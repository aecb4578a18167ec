import type { LogLogger, TopicListener } from './topic-log.ts'

/**
 * The listeners of a log, one for each followed topic. One that throws harms neither the log, which has stored the
 * events by then, nor the listeners of other topics; the log's logger reports it.
 */
export class TopicListeners {
  readonly #listeners = new Map<string, TopicListener>()
  #logger: LogLogger | undefined

  /** Reports to this logger from now on; before that, nothing is reported. */
  start (logger: LogLogger | undefined): void {
    this.#logger = logger
  }

  /** Takes the place of the topic's listener. */
  set (topic: string, listener: TopicListener): void {
    this.#listeners.set(topic, listener)
  }

  /** False, and nothing changes, when the topic has another listener. */
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
