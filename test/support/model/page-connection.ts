import { readTopic } from '../../../plugin/topics/read-topic.ts'
import type { TopicPage } from '../../../plugin/topics/index.ts'
import type { ModelConnection, Received } from './connection.ts'
import type { Instance } from './world.ts'

/** A client that reads one topic page by page, from its start until it is closed, and reads again at its end. */
export class PageConnection implements ModelConnection {
  isOpen = true
  isRefused = false
  failure: unknown
  #isStopped = false
  #cursor: string | undefined
  readonly #onEvent: (event: Received) => void

  constructor (
    { log }: Instance,
    topic: string,
    cursor: string | undefined,
    limit: number,
    onEvent: (event: Received) => void
  ) {
    this.#cursor = cursor
    this.#onEvent = onEvent
    this.#run(() => readTopic(log, topic, { after: this.#cursor, limit })).catch((error: unknown) => {
      this.isOpen = false
      if ((error as { statusCode?: number }).statusCode !== 503) this.failure = error
    })
  }

  cut (): void { this.isOpen = false }
  stop (): void { this.#isStopped = true }
  go (): void { this.#isStopped = false }

  async #run (read: () => Promise<TopicPage>): Promise<void> {
    while (this.isOpen) {
      if (!this.#isStopped) this.#take(await read())
      await new Promise(resolve => { setTimeout(resolve, 1) })
    }
  }

  /** All of a page arrives together, or the client has left before. */
  #take ({ events, cursor, gap, isClosed }: TopicPage): void {
    if (!this.isOpen) return
    if (gap) {
      this.#onEvent({ id: events.length === 0 ? cursor : undefined, event: 'stream.gap', data: JSON.stringify(gap) })
    }
    for (const { id, data } of events) this.#onEvent({ id, event: undefined, data })
    if (this.#cursor === undefined && events.length === 0) this.#onEvent({ id: cursor, event: 'stream.open', data: '' })
    this.#cursor = cursor
    this.isRefused = isClosed
    if (isClosed) this.isOpen = false
  }
}
