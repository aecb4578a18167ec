import { formatEventId, isBefore, isSameEventId, ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import { encodePlain, sliceEntries } from './frames.ts'
import type { EncodeEntry, Slice } from './frames.ts'
import type { Location, LogEntry, SeekStart, TopicEnds, TopicLog } from './log/topic-log.ts'
import { isNext } from './resume.ts'

/** One entry of a page, encoded. */
export interface PageEntry { id: EventId, body: Buffer }

/** Bounds of one page, in entries and in bytes of data. */
const PAGE = { count: 1_000, bytes: 128 * 1024 }
/**
 * Pages read from the log at one time; more wait for their turn. With the cache it bounds what catching up takes in
 * memory.
 */
const MAX_READING = 32
/** What is kept of pages that were just read, in bytes. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024
/** How long an answer is shared: long enough for a storm of reconnects, short enough for a topic that was deleted. */
const KEPT_MS = 1_000

/** Some entries of one topic in a row, shared by all readers at the same place. */
export class Page {
  readonly entries: readonly PageEntry[]
  readonly bytes: number
  readonly #ends: TopicEnds
  #slices: readonly Slice<PageEntry>[] | undefined

  /** `ends` were read after the entries: a topic that was forgotten meanwhile is noticed. */
  constructor (entries: readonly LogEntry[], ends: TopicEnds, encode: (entry: LogEntry) => Buffer) {
    this.#ends = ends
    this.entries = entries.map(entry => ({ id: entry.id, body: encode(entry) }))
    this.bytes = this.entries.reduce((sum, { body }) => sum + body.length, 0)
  }

  /** The entries up to a position; the very list of the page when that is all, as it mostly is. */
  upTo (target: EventId): readonly PageEntry[] {
    const last = this.entries.at(-1)
    const isAll = last === undefined || !isBefore(target, last.id)
    return isAll ? this.entries : this.entries.filter(({ id }) => !isBefore(target, id))
  }

  /** True when nothing lies between a position and the first entry. */
  follows (position: EventId): boolean {
    const [first] = this.entries
    return first !== undefined && isNext(position, first.id, this.#ends)
  }

  /** The whole page as a connection to this topic alone gets it; made once. */
  get slices (): readonly Slice<PageEntry>[] {
    this.#slices ??= [...sliceEntries(this.entries, ({ id }) => formatEventId(id))]
    return this.#slices
  }
}

/**
 * What readers that catch up ask the log, shared: those at the same place get one read and its bytes, also when they
 * come a moment later. So a storm of reconnects reads as many pages as there are, not as there are clients.
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
   * The entries after a position, oldest first; empty at the end of the topic. Readers with another `encode` have pages
   * of their own.
   */
  read (topic: string, after: EventId, encode: EncodeEntry = encodePlain): Promise<Page> {
    // 0-0 is also written by hand: a page kept there could be that of a life of the topic that was forgotten meanwhile.
    const key = `${encode.name} ${this.#key(topic, after)}`
    return this.#pages.get(key, () => this.#read(topic, after, encode), !isSameEventId(after, ORIGIN))
  }

  /**
   * Where a cursor stands, perhaps as it was a moment ago. What was trimmed since is found when the entries after it
   * are read; a gap is described by the log's own, fresh answer.
   */
  locate (topic: string, id: EventId): Promise<Location> {
    return this.#locations.get(this.#key(topic, id), () => this.#log.locate(topic, id))
  }

  /** Both ends of a topic as they are now; only who asks while the log is being asked shares the answer. */
  async endsNow (topic: string): Promise<TopicEnds> {
    return (await this.#locations.get(`now ${topic}`, () => this.#log.locate(topic, ORIGIN), false)).ends
  }

  /**
   * Where a client without a cursor begins, as of the topic's position `now`: clients that come at one moment share it.
   */
  seek (topic: string, start: SeekStart, now: EventId): Promise<EventId> {
    const key = `${this.#key(topic, now)} ${JSON.stringify(start)}`
    return this.#seeks.get(key, () => this.#log.seek(topic, start))
  }

  /** What is kept of a topic is not given any more: it was deleted, or nobody here hears of it from now on. */
  forget (topic: string): void {
    if (this.#lives.size >= MAX_LIVES) {
      this.#lives.clear()
      this.#age++
    }
    this.#lives.set(topic, (this.#lives.get(topic) ?? 0) + 1)
  }

  /** Answers from before a topic was forgotten stand under keys that nobody asks for. */
  #key (topic: string, id: EventId): string {
    return `${this.#age}.${this.#lives.get(topic) ?? 0} ${topic} ${formatEventId(id)}`
  }

  async #read (topic: string, after: EventId, encode: EncodeEntry): Promise<Page> {
    if (this.#reading >= MAX_READING) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    else this.#reading++
    try {
      const entries = await this.#log.read(topic, after, PAGE)
      const { ends } = await this.#log.locate(topic, after)
      return new Page(entries, ends, entry => encode(topic, entry))
    } finally {
      // The place goes straight to the next in line.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#reading--
    }
  }
}

const LOCATION_BYTES = 500
/** Topics that are counted as forgotten, before all are. */
const MAX_LIVES = 10_000

/**
 * Answers under way, and those of the last moment up to a number of bytes; a failure is shared while it is under way
 * only.
 */
class Shared<T> {
  readonly #answers = new Map<string, { asked: Promise<T>, expiresAt: number, bytes: number }>()
  readonly #bytesOf: (answer: T) => number
  #bytes = 0

  constructor (bytesOf: (answer: T) => number) {
    this.#bytesOf = bytesOf
  }

  get (key: string, ask: () => Promise<T>, isKept = true): Promise<T> {
    this.#dropOld()
    const known = this.#answers.get(key)
    if (known) return known.asked
    const asked = ask()
    const answer = { asked, expiresAt: Infinity, bytes: 0 }
    this.#answers.set(key, answer)
    asked.then(value => {
      if (!isKept) return this.#answers.delete(key)
      answer.expiresAt = performance.now() + KEPT_MS
      answer.bytes = this.#bytesOf(value)
      this.#bytes += answer.bytes
    }, () => this.#answers.delete(key))
    return asked
  }

  /** Oldest first, and what is still under way stays. */
  #dropOld (): void {
    const now = performance.now()
    for (const [key, { expiresAt, bytes }] of this.#answers) {
      const isOld = expiresAt <= now || (this.#bytes > MAX_KEPT_BYTES && expiresAt !== Infinity)
      if (!isOld) return
      this.#answers.delete(key)
      this.#bytes -= bytes
    }
  }
}
