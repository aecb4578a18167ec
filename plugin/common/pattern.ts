/**
 * Matches topic patterns: `*` stands for any run of characters, and `orders.*` for everything below `orders.`;
 * everything else is literal. The time is proportional to the length of the topic, whatever the pattern: clients choose
 * patterns, too, and a regular expression with many stars would backtrack almost indefinitely. A token has up to 1,500
 * patterns, and a list may have thousands of topics to compare with them, so most patterns are ruled out by their first
 * characters.
 */
export function matchesPattern (pattern: string, topic: string): boolean {
  const star = pattern.indexOf('*')
  if (star === -1) return pattern === topic
  for (let at = 0; at < star; at++) if (pattern.charCodeAt(at) !== topic.charCodeAt(at)) return false
  return matchesParts(pattern, topic)
}

/** For a topic that starts with the text before the first star. */
function matchesParts (pattern: string, topic: string): boolean {
  const [first, ...middle] = pattern.split('*') as [string, ...string[]]
  const last = middle.pop()!
  const end = topic.length - last.length
  if (end < first.length || !topic.endsWith(last)) return false
  const at = middle.reduce((at, text) => endOf(text, topic, at), first.length)
  return at <= end
}

/**
 * The index at which the next occurrence of a text ends; Infinity if there is none. Taking the first occurrence leaves
 * the most text for the rest of the pattern.
 */
function endOf (text: string, topic: string, from: number): number {
  const found = topic.indexOf(text, from)
  return found === -1 || from === Infinity ? Infinity : found + text.length
}
