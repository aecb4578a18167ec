import { byId, setText } from '../page/dom.ts'
import { formatCount } from '../page/format.ts'
import { parseFilter } from './filter.ts'
import type { Item } from './item.ts'
import type { ItemStore } from './item-store.ts'
import { createRow, rowId } from './row.ts'

/** Maximum number of rows in the page: a browser lays out this many without a noticeable pause. */
const MAX_ROWS = 500

const NOTHING = 'Nothing yet. Subscribe to a topic, or publish an event.'

/**
 * The newest items as rows, newest first: a list box with one active row. Rows are added once per frame, however many
 * events arrive; a hidden page adds none.
 */
export class ItemList {
  readonly #store: ItemStore
  readonly #box = byId('rows')
  readonly #shown = byId('shown')
  readonly #hint = byId('no-rows')
  readonly #onOpen: (item: Item) => void
  /** The rows in the page, newest first. */
  #rows: HTMLElement[] = []
  #filterText = ''
  #search = ''
  #renderedSeq = 0
  #isPaused = false
  #isScheduled = false
  #activeSeq: number | undefined

  constructor (store: ItemStore, onOpen: (item: Item) => void) {
    this.#store = store
    this.#onOpen = onOpen
    this.#box.addEventListener('keydown', event => this.#key(event))
    this.#box.addEventListener('click', event => this.#click(event))
  }

  get isPaused (): boolean { return this.#isPaused }
  /** The number of items that arrived during the pause and are not shown yet. */
  get heldBack (): number { return this.#store.nextSeq - this.#renderedSeq }

  pause (isPaused: boolean): void {
    this.#isPaused = isPaused
    if (!isPaused) this.schedule()
  }

  filter (text: string): void {
    this.#filterText = text
    this.#redraw()
  }

  /** Highlights a text. */
  search (text: string): void {
    this.#search = text.toLowerCase()
    this.#redraw()
  }

  /**
   * Makes the next match of the search the active row, downwards or upwards, and wraps around. Returns its position
   * among all matches.
   */
  step (direction: 1 | -1): { at: number, of: number } {
    const found = this.#rows.filter(row => row.classList.contains('found'))
    if (found.length === 0) return { at: 0, of: 0 }
    const current = found.findIndex(row => row.id === this.#activeId)
    const next = current < 0 && direction === -1 ? -1 : current + direction
    const at = (next + found.length) % found.length
    this.#activate(found[at]!)
    return { at: at + 1, of: found.length }
  }

  get found (): number {
    return this.#rows.filter(row => row.classList.contains('found')).length
  }

  /** Items were added: their rows are added in the next frame. */
  schedule (): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    requestAnimationFrame(() => {
      this.#isScheduled = false
      if (!this.#isPaused) this.#update()
    })
  }

  clear (): void {
    this.#store.clear()
    this.#redraw()
  }

  focus (): void {
    this.#box.focus()
  }

  get #activeId (): string {
    return this.#activeSeq === undefined ? '' : rowId(this.#activeSeq)
  }

  /** Adds new rows, and removes the oldest ones. */
  #update (): void {
    const isShown = parseFilter(this.#filterText)
    const fresh = this.#store.items.filter(item => item.seq >= this.#renderedSeq && isShown(item))
    this.#renderedSeq = this.#store.nextSeq
    const rows = fresh.slice(-MAX_ROWS).reverse().map(item => createRow(item, this.#search))
    this.#box.prepend(...rows)
    this.#rows.unshift(...rows)
    for (const row of this.#rows.splice(MAX_ROWS)) row.remove()
    this.#describe()
  }

  /** Renders all current rows again. */
  #redraw (): void {
    const isShown = parseFilter(this.#filterText)
    const last = this.#isPaused ? this.#renderedSeq : this.#store.nextSeq
    const items = this.#store.items.filter(item => item.seq < last && isShown(item)).slice(-MAX_ROWS).reverse()
    this.#renderedSeq = last
    this.#rows = items.map(item => createRow(item, this.#search))
    this.#box.replaceChildren(...this.#rows)
    this.#mark()
    this.#describe()
  }

  #describe (): void {
    const [rows, kept] = [this.#rows.length, this.#store.items.length]
    const counts = rows === kept ? formatCount(kept) : `${formatCount(rows)} of ${formatCount(kept)}`
    setText(this.#shown, kept === 0 ? '' : `${counts} shown`)
    this.#hint.hidden = rows > 0
    setText(this.#hint, kept > 0 ? 'No event matches the filter.' : NOTHING)
  }

  #key (event: KeyboardEvent): void {
    const at = this.#rows.findIndex(row => row.id === this.#activeId)
    const target = targetOf(event.key, at, this.#rows.length)
    if (target !== undefined) {
      event.preventDefault()
      const row = this.#rows[target]
      if (row) this.#activate(row)
    } else if ((event.key === 'Enter' || event.key === ' ') && at >= 0) {
      event.preventDefault()
      this.#open(this.#rows[at]!)
    }
  }

  #click ({ target }: MouseEvent): void {
    const row = (target as Element).closest<HTMLElement>('.row')
    // A user who selects text does not want to select another row.
    if (row === null || getSelection()?.type === 'Range') return
    this.#activate(row)
    this.#open(row)
  }

  #activate (row: HTMLElement): void {
    this.#activeSeq = Number(row.dataset['seq'])
    this.#mark()
    row.scrollIntoView({ block: 'nearest' })
  }

  #mark (): void {
    for (const row of this.#rows) row.setAttribute('aria-selected', String(row.id === this.#activeId))
    const isThere = this.#rows.some(row => row.id === this.#activeId)
    if (isThere) this.#box.setAttribute('aria-activedescendant', this.#activeId)
    else this.#box.removeAttribute('aria-activedescendant')
  }

  #open (row: HTMLElement): void {
    const item = this.#store.find(Number(row.dataset['seq']))
    if (item) this.#onOpen(item)
  }
}

/** The row that a key moves to; undefined for other keys. */
function targetOf (key: string, at: number, count: number): number | undefined {
  const last = count - 1
  switch (key) {
    case 'ArrowDown': return Math.min(at + 1, last)
    case 'ArrowUp': return Math.max(at - 1, 0)
    case 'PageDown': return Math.min(at + 10, last)
    case 'PageUp': return Math.max(at - 10, 0)
    case 'Home': return 0
    case 'End': return last
    default: return undefined
  }
}
