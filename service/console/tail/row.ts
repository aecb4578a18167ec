import { element } from '../page/dom.ts'
import { formatTime } from '../page/format.ts'
import { splitAt } from './filter.ts'
import type { Item } from './item.ts'

/** Characters of data in a row; the inspector has all of it. */
const MAX_PREVIEW = 300

/** The id of an item's row in the page. */
export const rowId = (seq: number): string => `row-${seq}`

/** True when the search finds something in what the row shows. */
export function isFound (item: Item, search: string): boolean {
  return search !== '' && [item.topic, item.event, item.id, item.data].some(text => text.toLowerCase().includes(search))
}

/** The row of an item, with what the search finds marked. All of it is text. */
export function createRow (item: Item, search: string): HTMLElement {
  const preview = item.data.length > MAX_PREVIEW ? `${item.data.slice(0, MAX_PREVIEW)}…` : item.data
  const { seq, kind, atMs } = item
  const row = element('div', { class: `row ${kind}`, role: 'option', id: rowId(seq), 'aria-selected': 'false' },
    element('time', { class: 'time', datetime: new Date(atMs).toISOString() }, formatTime(atMs)),
    cell('topic', item.topic, search),
    cell('id', item.id, search),
    cell('name', item.event, search),
    cell('data', preview.replaceAll(/\s+/g, ' '), search)
  )
  row.dataset['seq'] = String(seq)
  row.classList.toggle('found', isFound(item, search))
  return row
}

function cell (name: string, text: string, search: string): HTMLElement {
  const parts = splitAt(text, search).map((part, at) => at % 2 === 1 ? element('mark', {}, part) : part)
  return element('span', { class: name }, ...parts)
}
