import { types } from 'node:util'

const MAX_SHOWN = 80

/** Shows a value in an error message: short, on one line, never throwing. */
export function show (value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return `a function ${value.name}`.trim()
  if (types.isUint8Array(value)) return `${value.length} bytes`
  return shorten(toJson(value))
}

function toJson (value: unknown): string {
  try {
    return (
      JSON.stringify(value, (key, member: unknown) => (typeof member === 'bigint' ? `${member}n` : member)) ??
      String(value)
    )
  } catch {
    return Object.prototype.toString.call(value)
  }
}

function shorten (text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text
}
