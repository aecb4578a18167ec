/**
 * Topic patterns: `*` stands for any run of characters, `orders.*` for everything below `orders.`; all else is literal.
 * Takes time in proportion to the topic, whatever the pattern: clients choose patterns, too, and a regular expression
 * with many stars would try for ever.
 */
export function matchesPattern (pattern: string, topic: string): boolean {
  const [first, ...middle] = pattern.split('*') as [string, ...string[]]
  const last = middle.pop()
  if (last === undefined) return pattern === topic
  const end = topic.length - last.length
  if (end < first.length || !topic.startsWith(first) || !topic.endsWith(last)) return false
  const at = middle.reduce((at, text) => endOf(text, topic, at), first.length)
  return at <= end
}

/**
 * Where the next occurrence of a text ends; beyond everything when there is none. The first one leaves most for the
 * rest.
 */
function endOf (text: string, topic: string, from: number): number {
  const found = topic.indexOf(text, from)
  return found === -1 || from === Infinity ? Infinity : found + text.length
}
