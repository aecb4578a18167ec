import type { Item, NewItem } from './item.ts'

/** Items kept, and characters of their data: a page that is open for days needs no more memory than after an hour. */
export const MAX_ITEMS = 2_000
const MAX_CHARACTERS = 8 * 1024 * 1024

/** The newest items, oldest first. */
export class ItemStore {
  #items: Item[] = []
  #characters = 0
  #nextSeq = 0

  get items (): readonly Item[] { return this.#items }
  /** The number of the next item. */
  get nextSeq (): number { return this.#nextSeq }

  /** Keeps an item, and drops the oldest beyond the limits. The newest is always kept. */
  add (item: NewItem): void {
    this.#items.push({ ...item, seq: this.#nextSeq++, atMs: Date.now() })
    this.#characters += item.data.length
    while (this.#items.length > MAX_ITEMS || (this.#characters > MAX_CHARACTERS && this.#items.length > 1)) {
      this.#characters -= this.#items.shift()!.data.length
    }
  }

  /** Undefined when it was dropped. */
  find (seq: number): Item | undefined {
    return this.#items[seq - (this.#items[0]?.seq ?? 0)]
  }

  clear (): void {
    this.#items = []
    this.#characters = 0
  }
}
