import type { Item } from './item.ts'

/** Decides whether an item is shown. */
export type Filter = (item: Item) => boolean

type Field = 'topic' | 'event' | 'id' | 'data'
const FIELDS: readonly Field[] = ['topic', 'event', 'id', 'data']

/**
 * Parses a filter: words that must all occur, in any letter case, in the topic, name, id or data of an event.
 * `topic:news` searches only the topic, and `event:`, `id:` and `data:` likewise; `-word` must not occur. Gaps and
 * notices are always shown, because users must see that something is missing.
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

/** Splits a text at the occurrences of another one, in any letter case; every second part is a match. */
export function splitAt (text: string, search: string): string[] {
  // Converting to lower case may change the length of a text: matches would then be marked in the wrong places.
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
