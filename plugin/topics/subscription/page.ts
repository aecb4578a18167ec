import { formatPosition } from '../ids/cursor.ts'
import type { Surroundings } from '../ids/cursor.ts'
import { formatEventId, isBefore } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { sliceEntries } from '../feed/frames.ts'
import type { EventFormat, Slice } from '../feed/frames.ts'
import type { LogEntry, TopicEnds } from '../log/topic-log.ts'
import { isNext } from '../ids/resume.ts'
import { SliceTemplate } from './slice-template.ts'

/** One entry of a page, encoded. */
export interface PageEntry { id: EventId, body: Buffer }

/** Approximate memory of an entry in addition to its bytes. */
const ENTRY_BYTES = 256
/**
 * Templates are kept for surroundings of up to this many bytes, so that they take about as much memory as the page
 * itself.
 */
const MAX_KEPT_AROUND = 256

/** Consecutive entries of one topic, shared by all readers at the same position. */
export class Page {
  readonly entries: readonly PageEntry[]
  readonly bytes: number
  readonly #ends: TopicEnds
  #slices: readonly Slice<PageEntry>[] | undefined
  /** Templates for surroundings of one pair of lengths: in a storm of reconnects most have the same lengths. */
  #templates: { before: number, after: number, made: SliceTemplate<PageEntry>[] } | undefined

  /** `ends` were read after the entries, so that a topic forgotten in the meantime is noticed. */
  constructor (topic: string, entries: readonly LogEntry[], ends: TopicEnds, format: EventFormat) {
    this.#ends = ends
    this.entries = entries.map(entry => ({ id: entry.id, body: format.encode(topic, entry) }))
    this.bytes = this.entries.reduce((sum, { body }) => sum + body.length + ENTRY_BYTES, 0)
  }

  /** The entries up to a position; the page's own list if that is all of them, as in most cases. */
  upTo (target: EventId): readonly PageEntry[] {
    const last = this.entries.at(-1)
    const isAll = last === undefined || !isBefore(target, last.id)
    return isAll ? this.entries : this.entries.filter(({ id }) => !isBefore(target, id))
  }

  /** True if nothing lies between a position and the first entry. */
  follows (position: EventId): boolean {
    const [first] = this.entries
    return first !== undefined && isNext(position, first.id, this.#ends)
  }

  /** The whole page in the form for a connection to this topic alone; created once. */
  get slices (): readonly Slice<PageEntry>[] {
    this.#slices ??= [...sliceAlone(this.entries)]
    return this.#slices
  }

  /** The whole page in the form for a connection to several topics. */
  * slicesWithin (around: Surroundings): Generator<Slice<PageEntry>> {
    const isShared = around.before.length + around.after.length <= MAX_KEPT_AROUND
    if (!isShared) yield * sliceWithin(this.entries, around)
    else for (const template of this.#templatesFor(around)) yield template.fill(around)
  }

  #templatesFor (around: Surroundings): SliceTemplate<PageEntry>[] {
    const known = this.#templates
    const [before, after] = [around.before.length, around.after.length]
    if (known?.before === before && known.after === after) return known.made
    const made = this.#makeTemplates(around)
    this.#templates = { before, after, made }
    return made
  }

  #makeTemplates (around: Surroundings): SliceTemplate<PageEntry>[] {
    let from = 0
    return Array.from(sliceWithin(this.entries, around), slice => {
      const entries = this.entries.slice(from, from += slice.frame.events)
      return new SliceTemplate(slice, entries, around, ({ id }) => cursorWithin(around, id))
    })
  }
}

/** Some of the page's entries in the form for a connection to this topic alone. */
export function sliceAlone (entries: readonly PageEntry[]): Generator<Slice<PageEntry>> {
  return sliceEntries(entries, ({ id }) => formatEventId(id))
}

/** Some of the page's entries in the form for a connection to several topics. */
export function sliceWithin (entries: readonly PageEntry[], around: Surroundings): Generator<Slice<PageEntry>> {
  return sliceEntries(entries, ({ id }) => cursorWithin(around, id))
}

function cursorWithin ({ before, after }: Surroundings, id: EventId): string {
  return formatPosition(before, id) + after
}
