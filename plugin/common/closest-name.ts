/**
 * The known name that was probably meant: one that differs in letter case only, begins with `name` (or the other way
 * round), or differs in at most a third of its letters. A group, as in `jwt.secret`, does not count. Undefined if there
 * is none.
 */
export function closestName (name: string, known: readonly string[]): string | undefined {
  const maxEdits = Math.max(1, Math.floor(lettersOf(name).length / 3))
  const [best] = known
    .map(other => ({ other, edits: distance(lettersOf(name), lettersOf(other)) }))
    .filter(({ edits }) => edits <= maxEdits)
    .sort((a, b) => a.edits - b.edits)
  return best?.other
}

/** The name without its group, in lower case. */
const lettersOf = (name: string): string => name.slice(name.lastIndexOf('.') + 1).toLowerCase()

/** 0 if they are equal, 1 if one begins with the other, otherwise how many letters to insert, delete or replace. */
function distance (a: string, b: string): number {
  if (a === b) return 0
  const isPrefix = Math.min(a.length, b.length) >= 3 && (a.startsWith(b) || b.startsWith(a))
  return isPrefix ? 1 : edits(a, b)
}

/** The Levenshtein distance, with one row of the table in memory. */
function edits (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
