import type { EventId } from '../../../../plugin/topics/ids/event-id.ts'

/** What happened to a topic. */
export class ModelTopic {
  readonly name: string
  readonly published: EventId[] = []
  /** The numbers of the last events at the times when the topic was closed. */
  readonly ends = new Set<number>()
  isClosed = false
  /** The highest number that any tab has received. */
  received = 0

  constructor (name: string) {
    this.name = name
  }

  get last (): EventId { return this.published.at(-1) ?? { ms: 0, n: 0 } }
}
