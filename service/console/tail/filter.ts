import type { Item } from './item.ts'

/** Says whether an item is shown. */
export type Filter = (item: Item) => boolean

type Field = 'topic' | 'event' | 'id' | 'data'
const FIELDS: readonly Field[] = ['topic', 'event', 'id', 'data']

/**
 * Reads a filter: words that must all occur, in any letter case, in the topic, name, id or data of an event.
 * `topic:news` looks in the topic alone, `event:`, `id:` and `data:` likewise, and `-word` must not occur. Gaps and
 * notices are always shown: whoever filters must still see that something is missing.
 */
export function parseFilter (text: string): Filter {
  const conditions = text.toLowerCase().split(/\s+/).filter(word => word !== '' && word !== '-').map(conditionOf)
  return item => item.kind !== 'event' || conditions.every(condition => condition(item))
}

function conditionOf (word: string): Filter {
  const isExcluded = word.startsWith('-')
  const wanted = isExcluded ? word.slice(1) : word
  const field = FIELDS.find(name => wanted.startsWith(`${name}:`))
  const value = field === undefined ? wanted : wanted.slice(field.length + 1)
  const fields = field === undefined ? FIELDS : [field]
  return item => fields.some(name => item[name].toLowerCase().includes(value)) !== isExcluded
}

/** Where a text occurs in another one, in any letter case: the parts, every second of which is a match. */
export function splitAt (text: string, search: string): string[] {
  // Lower case may have another length: then matches would be marked at the wrong place.
  const haystack = text.toLowerCase()
  if (search === '' || haystack.length !== text.length) return [text]
  const parts: string[] = []
  let from = 0
  for (let at = haystack.indexOf(search); at >= 0; at = haystack.indexOf(search, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + search.length))
    from = at + search.length
  }
  return [...parts, text.slice(from)]
}
