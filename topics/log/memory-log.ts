import { errors } from '../errors.ts'
import { compareEventIds, isSameEventId, ORIGIN } from '../event-id.ts'
import type { EventId } from '../event-id.ts'
import type { Appended, LogEntry, Location, NewEvent, PageLimit, TopicEnds, TopicListener, TopicLog } from './topic-log.ts'

export interface MemoryLogOptions {
  /** Entries kept per topic; older ones are dropped. Default 10,000. */
  maxEvents?: number
  /** Idempotency keys kept per topic. Default 1,000. */
  maxIdempotencyKeys?: number
  /** The clock, in Unix ms. Default `Date.now`. */
  now?: () => number
}

interface Topic {
  entries: LogEntry[]
  last: EventId
  isClosed: boolean
  keys: Map<string, readonly EventId[]>
}

/** The reference implementation: everything in the memory of one process, gone with it. */
export class MemoryLog implements TopicLog {
  readonly #topics = new Map<string, Topic>()
  readonly #listeners = new Map<string, TopicListener>()
  readonly #options: Required<MemoryLogOptions>

  constructor (options: MemoryLogOptions = {}) {
    this.#options = { maxEvents: 10_000, maxIdempotencyKeys: 1_000, now: Date.now, ...options }
    for (const name of ['maxEvents', 'maxIdempotencyKeys'] as const) {
      const value = this.#options[name]
      if (!Number.isSafeInteger(value) || value < 1) throw new errors.TOPICS_BAD_OPTION(name, 'an integer from 1', value)
    }
  }

  async append (name: string, events: readonly NewEvent[], { idempotencyKey }: { idempotencyKey?: string | undefined } = {}): Promise<Appended> {
    const topic = this.#topic(name)
    const earlier = idempotencyKey === undefined ? undefined : topic.keys.get(idempotencyKey)
    if (earlier) return { ids: earlier, isRepeat: true }
    if (topic.isClosed) throw new errors.TOPICS_CLOSED(name)
    const entries = this.#number(topic, events)
    topic.entries.push(...entries)
    topic.last = entries.at(-1)?.id ?? topic.last
    this.#trim(topic)
    const ids = entries.map(entry => entry.id)
    if (idempotencyKey !== undefined) this.#remember(topic, idempotencyKey, ids)
    this.#listeners.get(name)?.onEntries(entries)
    return { ids, isRepeat: false }
  }

  async read (name: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    const { entries } = this.#peek(name)
    const page: LogEntry[] = []
    let bytes = 0
    for (let at = firstAfter(entries, after); at < entries.length && page.length < limit.count; at++) {
      const entry = entries[at]!
      bytes += Buffer.byteLength(entry.data)
      if (page.length > 0 && bytes > limit.bytes) break
      page.push(entry)
    }
    return page
  }

  async locate (name: string, id: EventId): Promise<Location> {
    const topic = this.#peek(name)
    const before = topic.entries[firstAfter(topic.entries, id) - 1]
    return { ends: endsOf(topic), exists: before !== undefined && isSameEventId(before.id, id) }
  }

  async seek (name: string, start: { last: number } | { sinceMs: number }): Promise<EventId> {
    const { entries, last } = this.#peek(name)
    const at = 'last' in start ? Math.max(0, entries.length - start.last) : firstAfter(entries, { ms: start.sinceMs - 1, n: Infinity })
    const first = entries[at]
    return first ? { ms: first.id.ms, n: first.id.n - 1 } : last
  }

  async follow (name: string, listener: TopicListener): Promise<TopicEnds> {
    this.#listeners.set(name, listener)
    return endsOf(this.#peek(name))
  }

  async unfollow (name: string): Promise<void> {
    this.#listeners.delete(name)
  }

  async close (name: string): Promise<void> {
    this.#topic(name).isClosed = true
    this.#listeners.get(name)?.onClosed()
  }

  async delete (name: string): Promise<void> {
    const topic = this.#topics.get(name)
    if (topic) Object.assign(topic, { entries: [], isClosed: false, keys: new Map() })
    this.#listeners.get(name)?.onDoubt()
  }

  async stop (): Promise<void> {
    this.#listeners.clear()
  }

  #peek (name: string): Topic {
    return this.#topics.get(name) ?? { entries: [], last: ORIGIN, isClosed: false, keys: new Map() }
  }

  #topic (name: string): Topic {
    const topic = this.#peek(name)
    this.#topics.set(name, topic)
    return topic
  }

  /** Gives each event its id: one time for all, never before the last one's, and the next numbers. */
  #number (topic: Topic, events: readonly NewEvent[]): LogEntry[] {
    const ms = Math.max(topic.last.ms, this.#options.now())
    return events.map((event, at) => ({ ...event, id: { ms, n: topic.last.n + 1 + at } }))
  }

  #trim (topic: Topic): void {
    const surplus = topic.entries.length - this.#options.maxEvents
    if (surplus > 0) topic.entries.splice(0, surplus)
  }

  #remember (topic: Topic, key: string, ids: readonly EventId[]): void {
    topic.keys.set(key, ids)
    if (topic.keys.size <= this.#options.maxIdempotencyKeys) return
    const oldest = topic.keys.keys().next()
    if (!oldest.done) topic.keys.delete(oldest.value)
  }
}

function endsOf ({ entries, last, isClosed }: Topic): TopicEnds {
  return { first: entries[0]?.id, last, count: entries.length, isClosed, jumps: [] }
}

/** Index of the first entry after a position, by halving. */
function firstAfter (entries: readonly LogEntry[], position: EventId): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareEventIds(entries[middle]!.id, position) > 0) high = middle
    else low = middle + 1
  }
  return low
}
