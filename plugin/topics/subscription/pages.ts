import { formatEventId, isSameEventId, ORIGIN } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { PLAIN } from '../feed/frames.ts'
import type { EventFormat } from '../feed/frames.ts'
import type { Location, SeekStart, TopicEnds, TopicLog } from '../log/topic-log.ts'
import { Page } from './page.ts'

/** Limits of one page, in entries and in bytes of their names and data. */
const PAGE = { count: 1_000, bytes: 128 * 1024 }
/**
 * Maximum number of pages read from the log concurrently; further reads wait. Together with the cache this limits the
 * memory for catching up.
 */
const MAX_READING = 32
/** Maximum bytes of recently read pages that are kept. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024
/** How long an answer is shared: long enough for a storm of reconnects, short enough for a deleted topic. */
const KEPT_MS = 1_000

/**
 * Shares the queries of readers that catch up: readers at the same position share one read and its bytes, even if they
 * arrive slightly later. So the number of pages read in a storm of reconnects does not depend on the number of clients.
 */
export class Pages {
  readonly #log: TopicLog
  readonly #pages = new Shared<Page>(page => page.bytes)
  readonly #locations = new Shared<Location>(() => LOCATION_BYTES)
  readonly #seeks = new Shared<EventId>(() => LOCATION_BYTES)
  readonly #lives = new Map<string, number>()
  #age = 0
  #reading = 0
  readonly #waiting: (() => void)[] = []

  constructor (log: TopicLog) {
    this.#log = log
  }

  /**
   * The entries after a position, oldest first; empty at the end of the topic. Readers with a different format have
   * separate pages.
   */
  read (topic: string, after: EventId, format: EventFormat = PLAIN): Promise<Page> {
    // 0-0 can also be sent by hand: a page stored under it could belong to a life of the topic that was forgotten in
    // the meantime.
    const key = `${format.name} ${this.#key(topic, after)}`
    return this.#pages.get(key, () => this.#read(topic, after, format), !isSameEventId(after, ORIGIN))
  }

  /**
   * Whether a cursor's entry exists, possibly as of a moment ago. Entries trimmed since then are noticed when the
   * entries after it are read; a gap is described from a new answer of the log.
   */
  locate (topic: string, id: EventId): Promise<Location> {
    return this.#locations.get(this.#key(topic, id), () => this.#log.locate(topic, id))
  }

  /** Both ends of a topic as of now; only concurrent calls share the answer. */
  async endsNow (topic: string): Promise<TopicEnds> {
    return (await this.#locations.get(`now ${topic}`, () => this.#log.locate(topic, ORIGIN), false)).ends
  }

  /**
   * Where a client without a cursor starts, as of the topic's position `now`: clients that arrive at the same moment
   * share it.
   */
  seek (topic: string, start: SeekStart, now: EventId): Promise<EventId> {
    const key = `${this.#key(topic, now)} ${JSON.stringify(start)}`
    return this.#seeks.get(key, () => this.#log.seek(topic, start))
  }

  /** Like `seek`, but always with a new answer of the log. */
  seekNow (topic: string, start: SeekStart): Promise<EventId> {
    return this.#log.seek(topic, start)
  }

  /** Drops everything cached for a topic: it was deleted, or this process no longer follows it. */
  forget (topic: string): void {
    if (this.#lives.size >= MAX_LIVES) {
      this.#lives.clear()
      this.#age++
    }
    this.#lives.set(topic, (this.#lives.get(topic) ?? 0) + 1)
  }

  /** Answers from before a topic was forgotten are stored under keys that are no longer used. */
  #key (topic: string, id: EventId): string {
    return `${this.#age}.${this.#lives.get(topic) ?? 0} ${topic} ${formatEventId(id)}`
  }

  async #read (topic: string, after: EventId, format: EventFormat): Promise<Page> {
    if (this.#reading >= MAX_READING) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    else this.#reading++
    try {
      const entries = await this.#log.read(topic, after, PAGE)
      const { ends } = await this.#log.locate(topic, after)
      return new Page(topic, entries, ends, format)
    } finally {
      // The slot is passed directly to the next one in line.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#reading--
    }
  }
}

const LOCATION_BYTES = 500
/** Maximum number of forgotten topics that are counted separately. */
const MAX_LIVES = 10_000

/** Pending answers, and recent ones up to a number of bytes; a failure is shared only while pending. */
class Shared<T> {
  readonly #asked = new Map<string, Promise<T>>()
  /** In order of arrival, which is the order in which they expire. */
  readonly #kept = new Map<string, { asked: Promise<T>, expiresAt: number, bytes: number }>()
  readonly #bytesOf: (answer: T) => number
  #bytes = 0

  constructor (bytesOf: (answer: T) => number) {
    this.#bytesOf = bytesOf
  }

  get (key: string, ask: () => Promise<T>, isKept = true): Promise<T> {
    this.#dropOld()
    const known = this.#asked.get(key) ?? this.#kept.get(key)?.asked
    if (known) return known
    const asked = ask()
    this.#asked.set(key, asked)
    asked.then(value => {
      this.#asked.delete(key)
      if (isKept) this.#keep(key, asked, this.#bytesOf(value))
    }, () => this.#asked.delete(key))
    return asked
  }

  #keep (key: string, asked: Promise<T>, bytes: number): void {
    this.#kept.set(key, { asked, expiresAt: performance.now() + KEPT_MS, bytes })
    this.#bytes += bytes
  }

  #dropOld (): void {
    const now = performance.now()
    for (const [key, { expiresAt, bytes }] of this.#kept) {
      if (expiresAt > now && this.#bytes <= MAX_KEPT_BYTES) return
      this.#kept.delete(key)
      this.#bytes -= bytes
    }
  }
}
