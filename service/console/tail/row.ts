import { element } from '../page/dom.ts'
import { formatTime } from '../page/format.ts'
import { splitAt } from './filter.ts'
import type { Item } from './item.ts'

/** Maximum number of characters of the name or data in a row; the inspector shows all of it. */
const MAX_PREVIEW = 300

/** The id of an item's row in the page. */
export const rowId = (seq: number): string => `row-${seq}`

/** True if the row contains the search text. */
export function isFound (item: Item, search: string): boolean {
  return search !== '' && [item.topic, item.event, item.id, item.data].some(text => text.toLowerCase().includes(search))
}

/** Creates the row of an item, with matches of the search highlighted. All of it is inserted as text. */
export function createRow (item: Item, search: string): HTMLElement {
  const { seq, kind, atMs } = item
  const row = element('div', { class: `row ${kind}`, role: 'option', id: rowId(seq), 'aria-selected': 'false' },
    element('time', { class: 'time', datetime: new Date(atMs).toISOString() }, formatTime(atMs)),
    cell('topic', item.topic, search),
    cell('id', item.id, search),
    cell('name', previewOf(item.event), search),
    cell('data', previewOf(item.data).replaceAll(/\s+/g, ' '), search)
  )
  row.dataset['seq'] = String(seq)
  row.classList.toggle('found', isFound(item, search))
  return row
}

function previewOf (text: string): string {
  return text.length > MAX_PREVIEW ? `${text.slice(0, MAX_PREVIEW)}…` : text
}

function cell (name: string, text: string, search: string): HTMLElement {
  const parts = splitAt(text, search).map((part, at) => at % 2 === 1 ? element('mark', {}, part) : part)
  return element('span', { class: name }, ...parts)
}
