/**
 * The position in one topic: the id of its last event, `<ms>-<n>`. Within a topic ids increase, even across deletions
 * and failovers.
 */
export interface Position { readonly ms: number, readonly n: number }

const TAG_LENGTH = 6

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
 * The positions in a cursor, by topic. `topics` are those of the connection, sorted. Empty for a cursor of other
 * topics.
 */
export function readPositions (cursor: string, topics: readonly string[]): Map<string, Position> {
  const plain = parseId(cursor)
  if (plain) return new Map(topics.length === 1 ? [[topics[0]!, plain]] : [])
  const parts = cursor === '' ? [] : cursor.split(',')
  if (parts.length !== topics.length) return new Map()
  return new Map(parts.map((part, at) => [topics[at]!, parsePart(part)]))
}

function parsePart (part: string): Position {
  const [ms, n] = part.slice(TAG_LENGTH).split('-').map(digits => parseInt(digits, 36))
  return { ms: ms!, n: n! }
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
