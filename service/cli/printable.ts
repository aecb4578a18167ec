/**
 * Control characters (C0 and C1) and bidirectional formatting characters: they move the cursor, change titles and
 * colours, forge lines, or hide text.
 */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const SHORT: ReadonlyMap<string, string> = new Map([['\n', '\\n'], ['\r', '\\r'], ['\t', '\\t']])

/**
 * Untrusted text as one line that is safe on a terminal: unprintable characters are escaped as in JSON, `\u001b` for
 * ESC.
 */
export function printable (text: string): string {
  return text.replace(
    UNPRINTABLE,
    character => SHORT.get(character) ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}
