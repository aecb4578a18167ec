import type { Item, NewItem } from './item.ts'

/**
 * Limits of stored items and of the characters in all their texts (an event name can be as long as data), so that a
 * page that is open for days needs no more memory than after an hour.
 */
export const MAX_ITEMS = 2_000
const MAX_CHARACTERS = 8 * 1024 * 1024

/** The newest items, oldest first. */
export class ItemStore {
  #items: Item[] = []
  #characters = 0
  #nextSeq = 0

  get items (): readonly Item[] { return this.#items }
  /** The sequence number of the next item. */
  get nextSeq (): number { return this.#nextSeq }

  /** Adds an item, and drops the oldest ones beyond the limits. The newest item is always kept. */
  add (item: NewItem): void {
    this.#items.push({ ...item, seq: this.#nextSeq++, atMs: Date.now() })
    this.#characters += lengthOf(item)
    while (this.#items.length > MAX_ITEMS || (this.#characters > MAX_CHARACTERS && this.#items.length > 1)) {
      this.#characters -= lengthOf(this.#items.shift()!)
    }
  }

  /** Undefined if the item was dropped. */
  find (seq: number): Item | undefined {
    return this.#items[seq - (this.#items[0]?.seq ?? 0)]
  }

  clear (): void {
    this.#items = []
    this.#characters = 0
  }
}

function lengthOf ({ topic, id, event, data, cursor }: NewItem): number {
  return topic.length + id.length + event.length + data.length + cursor.length
}
