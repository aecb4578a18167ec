import { accessSync, constants, statSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { parseDuration } from './duration.ts'

/** How a value is parsed from its text; undefined rejects it. */
export type Read<T> = (text: string) => T | undefined

/** One setting of the service: a row of the table in config.ts, and of the one in docs/configuration.md. */
export interface Variable<T = unknown> {
  /** Its name in `ServiceConfig`. */
  property: string
  /** As a user would write it; undefined if there is no default. */
  default: string | undefined
  /** The allowed values, as the error message shows them: `… must be <allowed>, saw …`. */
  allowed: string
  read: Read<T>
  /** What it does, in the words of the documentation and, without its backticks, of `--help`. */
  meaning: string
  /** How to show a bad value that may contain a secret. Default: unchanged. */
  show?: (text: string) => string
  /**
   * What is wrong with a bad value, each as the rest of a sentence that begins with the name of the variable; empty:
   * `must be <allowed>, saw …`.
   */
  problems?: (text: string) => readonly string[]
  /**
   * True for a value that is a secret: it is rejected as a flag, because the process list shows flags. Such a variable
   * may also be read from a file, which `<NAME>_FILE` names.
   */
  isSecret?: (text: string) => boolean
}

/** Any string that is not empty. */
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

/** In ms, at most a year; only `0` needs no unit. */
export const durationOrZero: Read<number> = text => {
  const ms = text === '0' ? 0 : parseDuration(text)
  return ms !== undefined && ms <= MAX_DURATION_MS ? ms : undefined
}

/** In ms, from 1 ms to a year. */
export const duration: Read<number> = text => durationOrZero(text) || undefined

/** The path of a file that exists and is readable now. */
export const readableFile: Read<string> = path => {
  try {
    accessSync(path, constants.R_OK)
    return statSync(path).isFile() ? path : undefined
  } catch {
    return undefined
  }
}

const UNREADABLE: Partial<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'this user has no permission to read it'
}

/** What is wrong with the path of a file that cannot be read. */
export function unreadable (path: string): [string] {
  let reason = 'it is not a file'
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    const { code } = error as { code: string }
    reason = UNREADABLE[code] ?? code
  }
  return [`must be the path of a readable file, saw ${JSON.stringify(path)}: ${reason}`]
}

/** An address to listen on. */
export const address: Read<string> = text => isIP(text) || text === 'localhost' ? text : undefined

/** Addresses and networks (`10.0.0.0/8`) of proxies, separated by commas. */
export const proxies: Read<string[]> = text => {
  const all = list(text)
  return all.every(isNetworkOfProxies) ? all : undefined
}

/** The allowed values, as the error message shows them. */
export const PROXIES =
  'IP addresses and networks such as 10.0.0.0/8,::1, separated by commas, none wider than /8 (IPv6: /7)'

/** The widest networks that are private: 10.0.0.0/8 and fc00::/7. Trusting a wider one means trusting the Internet. */
const MIN_PREFIX = { 4: 8, 6: 7 } as const
/** IPv4 addresses as IPv6 ones: `::ffff:0:0/96` is all of them. */
const MAPPED_BITS = 96

function isNetworkOfProxies (text: string): boolean {
  const [ip = '', prefix, ...rest] = text.split('/')
  const family = isIP(ip)
  if (family === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  const [bits, least] =
    family === 6 ? [128, isMapped(ip) ? MAPPED_BITS + MIN_PREFIX[4] : MIN_PREFIX[6]] : [32, MIN_PREFIX[4]]
  return /^\d{1,3}$/.test(prefix) && Number(prefix) >= least && Number(prefix) <= bits
}

/** True if the network is within the IPv4-mapped addresses, in any notation. */
function isMapped (ip: string): boolean {
  const mapped = new BlockList()
  mapped.addSubnet('::ffff:0:0', MAPPED_BITS, 'ipv6')
  return mapped.check(ip, 'ipv6')
}

/** The items between commas. */
export const list = (text: string): string[] => text.split(',').map(item => item.trim())

/** Origins as browsers send them, or `*` alone. */
export const origins: Read<readonly string[]> = text => {
  const given = list(text)
  return text === '*' || given.every(isOrigin) ? given : undefined
}

/** In the form browsers send them: anything else, a pattern included, would never match. */
function isOrigin (text: string): boolean {
  return /^https?:[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

/** A URL, even a mistyped one, without the password it may contain. */
export function withoutPassword (text: string): string {
  return text.replace(/^([\w+]+:\/*)?.*@/s, '$1***@')
}
