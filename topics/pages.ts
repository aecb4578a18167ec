import type { EventId } from './event-id.ts'
import { formatEventId } from './event-id.ts'
import { encodeBody } from './frames.ts'
import type { TopicLog } from './log/topic-log.ts'

/** One entry of a page, encoded. */
export interface PageEntry { id: EventId, body: Buffer }

/** Bounds of one page: what a reader that catches up holds in memory. */
const PAGE = { count: 200, bytes: 64 * 1024 }

/** Reads pages of the log for readers that catch up. Readers at the same place at the same time share one read and its bytes. */
export class Pages {
  readonly #log: TopicLog
  readonly #reading = new Map<string, Promise<PageEntry[]>>()

  constructor (log: TopicLog) {
    this.#log = log
  }

  /** The entries after a position, oldest first; empty at the end of the topic. */
  read (topic: string, after: EventId): Promise<PageEntry[]> {
    const key = `${topic} ${formatEventId(after)}`
    const shared = this.#reading.get(key) ?? this.#read(topic, after, key)
    this.#reading.set(key, shared)
    return shared
  }

  async #read (topic: string, after: EventId, key: string): Promise<PageEntry[]> {
    try {
      const entries = await this.#log.read(topic, after, PAGE)
      return entries.map(entry => ({ id: entry.id, body: encodeBody(entry) }))
    } finally {
      this.#reading.delete(key)
    }
  }
}
