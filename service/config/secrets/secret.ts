/** Secrets printed in documentation, here or elsewhere: anyone who reads it can sign tokens. */
const PRINTED = new Set([
  '0123456789abcdef0123456789abcdef',
  'a-string-secret-at-least-256-bits-long',
  'your-256-bit-secret-your-256-bit-secret'
])
const MIN_DIFFERENT = 8
/** Neighbours in the alphabet, among digits and on the keyboard. */
const ROWS = ['0123456789', 'abcdefghijklmnopqrstuvwxyz', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm']
const NEIGHBOURS = new Set(
  ROWS.flatMap(row => [...row].slice(1).flatMap((next, at) => [row[at]! + next, next + row[at]!]))
)
/** Of 32 random hexadecimal digits a quarter of the pairs are neighbours or equal. */
const MAX_NEIGHBOURS = 0.7

/**
 * Why a secret of any length can be guessed, as the rest of a sentence; undefined if no weakness is found. In linear
 * time.
 */
export function weaknessOf (secret: string): string | undefined {
  if (PRINTED.has(secret)) return 'is printed in documentation'
  const different = new Set(secret).size
  if (different < MIN_DIFFERENT) return `has only ${different} different characters`
  if (periodOf(secret) <= secret.length / 2) return 'repeats itself'
  const pairs = [...secret.toLowerCase()].slice(1).map((next, at) => secret[at]!.toLowerCase() + next)
  const neighbours = pairs.filter(pair => pair[0] === pair[1] || NEIGHBOURS.has(pair)).length
  return neighbours > MAX_NEIGHBOURS * pairs.length ? 'is a sequence' : undefined
}

/**
 * The number of characters after which a text repeats; its length if it never does. Uses the failure function of Knuth,
 * Morris and Pratt.
 */
function periodOf (text: string): number {
  const borders = [0]
  for (let at = 1, border = 0; at < text.length; at++) {
    while (border > 0 && text[at] !== text[border]) border = borders[border - 1]!
    if (text[at] === text[border]) border++
    borders.push(border)
  }
  return text.length - borders.at(-1)!
}

/** True for a text that looks as if a person had chosen it: words, or a placeholder for a secret. */
export function looksLikeWords (secret: string): boolean {
  return (
    /change.?me|secret|passw|example|placeholder/i.test(secret) ||
    /^[a-z]+(?:[^a-z0-9]+[a-z]+){3,}\W*\d*\W*$/i.test(secret)
  )
}
