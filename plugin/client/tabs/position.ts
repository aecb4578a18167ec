/**
 * The position in one topic: the id of its last event, `<ms>-<n>`. Within a topic ids increase, even across deletions
 * and failovers.
 */
export interface Position { readonly ms: number, readonly n: number }

/** The first 6 characters are the tag. */
const PART = /^([\w-]{6})([0-9a-z]{1,11})-([0-9a-z]{1,11})$/

/** Parses the id of an event; undefined for anything else. */
export function parseId (id: string): Position | undefined {
  const [, ms, n] = /^(\d{1,16})-(\d{1,16})$/.exec(id) ?? []
  return ms === undefined ? undefined : { ms: Number(ms), n: Number(n) }
}

export function formatId ({ ms, n }: Position): string {
  return `${ms}-${n}`
}

/** Negative if `a` comes before `b`. */
export function compare (a: Position, b: Position): number {
  return a.ms - b.ms || a.n - b.n
}

/**
 * The positions that a cursor contains of these topics. It may be that of a connection to other topics: each position
 * has the tag of its topic. A plain id is the position of a single topic.
 */
export function readPositions (
  cursor: string,
  topics: readonly string[],
  tags: ReadonlyMap<string, string>
): Map<string, Position> {
  const plain = parseId(cursor)
  if (plain) return new Map(topics.length === 1 ? [[topics[0]!, plain]] : [])
  const byTag = new Map(cursor.split(',').flatMap(parsePart))
  return new Map(topics.flatMap(topic => {
    const position = byTag.get(tags.get(topic)!)
    return position ? [[topic, position] as const] : []
  }))
}

/** True for a part of a cursor of several topics. */
export function isPosition (part: string): boolean { return PART.test(part) }

/** Empty for anything that is not a part of a cursor. */
function parsePart (part: string): ReadonlyArray<readonly [tag: string, position: Position]> {
  const [, tag, ms = '', n = ''] = PART.exec(part) ?? []
  return tag === undefined ? [] : [[tag, { ms: parseInt(ms, 36), n: parseInt(n, 36) }]]
}

/**
 * The cursor of those of the topics that have a position: a plain id for a single topic, otherwise positions by tag.
 */
export function formatCursor (
  topics: readonly string[],
  positions: ReadonlyMap<string, Position>,
  tags: ReadonlyMap<string, string>
): string {
  const known = topics.filter(topic => positions.has(topic))
  const [only] = known
  if (topics.length === 1) return only === undefined ? '' : formatId(positions.get(only)!)
  return known.map(topic => {
    const { ms, n } = positions.get(topic)!
    return `${tags.get(topic)}${ms.toString(36)}-${n.toString(36)}`
  }).join()
}
