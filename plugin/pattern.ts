/**
 * Topic patterns: `*` stands for any run of characters, `orders.*` for everything below `orders.`; all else is literal.
 */
export function matchesPattern (pattern: string, topic: string): boolean {
  return toRegExp(pattern).test(topic)
}

const compiled = new Map<string, RegExp>()
const MAX_KEPT = 1_000

function toRegExp (pattern: string): RegExp {
  const known = compiled.get(pattern)
  if (known) return known
  if (compiled.size >= MAX_KEPT) compiled.clear()
  // One star after another would only backtrack; what stands between stars is escaped.
  const source = pattern.split(/\*+/).map(text => text.replace(/[.~+?^${}()|[\]\\/-]/g, '\\$&')).join('.*')
  const made = new RegExp(`^${source}$`)
  compiled.set(pattern, made)
  return made
}
