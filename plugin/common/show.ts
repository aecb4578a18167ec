import { types } from 'node:util'

const MAX_SHOWN = 80
/** Up to the last @, whatever a password consists of. */
const CREDENTIALS = /(:\/\/).*@/s
const SECRET = /passw|secret/i

/**
 * Formats a value for an error message: short, on one line; never throws. Passwords are left out: a Redis URL that is
 * passed as the wrong argument would be logged.
 */
export function show (value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return `a function ${value.name}`.trim()
  if (types.isUint8Array(value)) return `${value.length} bytes`
  return shorten(toJson(value))
}

function toJson (value: unknown): string {
  try {
    return JSON.stringify(value, showMember) ?? String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

function showMember (key: string, member: unknown): unknown {
  if (typeof member === 'bigint') return `${member}n`
  if (typeof member !== 'string') return member
  return SECRET.test(key) ? '***' : member.replace(CREDENTIALS, '$1***@')
}

function shorten (text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text
}
