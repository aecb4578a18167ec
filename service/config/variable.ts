import { accessSync, constants, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { parseDuration } from './duration.ts'

/** How a value is read from its text; undefined refuses it. */
export type Read<T> = (text: string) => T | undefined

/** One setting of the service: a row of the table in config.ts, and of the README's. */
export interface Variable<T = unknown> {
  /** Its name in `ServiceConfig`. */
  property: string
  /** As one would write it; undefined when without it there is no value. */
  default: string | undefined
  /** What it may be, in the words of the error for anything else: `… must be <allowed>, saw …`. */
  allowed: string
  read: Read<T>
  /** What it does, in the words of the README and, without its backticks, of `--help`. */
  meaning: string
  /** How a bad value is told, where it may hold a secret. Default: as it stands. */
  show?: (text: string) => string
}

/** Any text but none. */
export const anyText: Read<string> = text => text === '' ? undefined : text

export function oneOf<T extends string> (...values: readonly T[]): Read<T> {
  return text => values.find(value => value === text)
}

export const yesOrNo: Read<boolean> = text => text === 'yes' ? true : text === 'no' ? false : undefined

export function integer (min: number, max: number): Read<number> {
  return text => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined
  }
}

/** A year: the log keeps nothing for longer. */
const MAX_DURATION_MS = parseDuration('366d')!

/** In ms, at most a year; `0` alone needs no unit. */
export const durationOrZero: Read<number> = text => {
  const ms = text === '0' ? 0 : parseDuration(text)
  return ms !== undefined && ms <= MAX_DURATION_MS ? ms : undefined
}

/** The path of a file that is there and may be read now. */
export const readableFile: Read<string> = path => {
  try {
    accessSync(path, constants.R_OK)
    return statSync(path).isFile() ? path : undefined
  } catch {
    return undefined
  }
}

/** An address to listen on. */
export const address: Read<string> = text => isIP(text) || text === 'localhost' ? text : undefined

/** Addresses and networks (`10.0.0.0/8`), separated by commas. */
export const addresses: Read<string[]> = text => {
  const all = text.split(',').map(part => part.trim())
  return all.every(isNetwork) ? all : undefined
}

function isNetwork (text: string): boolean {
  const [ip = '', prefix, ...rest] = text.split('/')
  const bits = isIP(ip) === 6 ? 128 : 32
  return isIP(ip) > 0 && rest.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
}

export const redisUrl: Read<string> = text => URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol) ? text : undefined

/** What stands between commas. */
export const list = (text: string): string[] => text.split(',').map(item => item.trim())

/** Origins as browsers send them, or `*` alone. */
export const origins: Read<readonly string[]> = text => {
  const given = list(text)
  return text === '*' || given.every(isOrigin) ? given : undefined
}

/** Written as browsers write it: a letter or a slash more would never match, and a pattern neither. */
function isOrigin (text: string): boolean {
  return /^https?:[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

/** A URL, also a mistyped one, without the password it may hold. */
export function withoutPassword (text: string): string {
  return text.replace(/^(\w+:\/*)?.*@/, '$1***@')
}
