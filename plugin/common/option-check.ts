import { closestName } from './closest-name.ts'
import { show } from './show.ts'

/** One row of a table of options: the allowed values in words, and the test for them. */
export interface OptionCheck {
  readonly range: string
  readonly ok: (value: unknown) => boolean
  /** True for an option that has no default. */
  readonly isRequired?: boolean
}

/** Creates the error for an option from its name, the allowed values and the value seen. */
export type OptionError = (name: string, range: string, seen: string) => Error

/** True for an integer from `min` to `max`, inclusive. */
export const isBetween = (value: unknown, min: number, max: number): boolean =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max
export const isFunction = (value: unknown): boolean => typeof value === 'function'
/** True for an object that is not an array. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An integer from `min` to `max`, inclusive. `unit` appears in messages; omit it for a count. */
export function integer (min: number, max: number, unit?: string): OptionCheck {
  const range = `an integer from ${min} to ${max}${unit === undefined ? '' : ` (${unit})`}`
  return { range, ok: value => isBetween(value, min, max) }
}

/** One of a fixed set of strings. */
export function oneOf (...values: readonly string[]): OptionCheck {
  return { range: values.map(value => `"${value}"`).join(' or '), ok: value => values.includes(value as string) }
}

/** The path of a folder; required. */
export const folderPath: OptionCheck = {
  range: 'the path of a folder',
  ok: value => typeof value === 'string' && value !== '',
  isRequired: true
}

export const trueOrFalse: OptionCheck = { range: 'true or false', ok: value => typeof value === 'boolean' }

/** A copy of the options without those that are `undefined`, which count as not given. */
export function withoutUndefined<T extends object> (options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}

/** Options of `app.register()` itself, which Fastify also passes to the plugin. */
const REGISTER_OPTIONS: readonly string[] = ['prefix', 'logLevel', 'logSerializers']

/** The options that are meant for the plugin; a value that is not an object is returned as it is. */
export function withoutRegisterOptions<T extends object> (given: T): T {
  if (!isObject(given)) return given
  return Object.fromEntries(Object.entries(given).filter(([name]) => !REGISTER_OPTIONS.includes(name))) as T
}

/** An object in words, with the options that it must have. */
function objectOf (table: Readonly<Record<string, OptionCheck>>): string {
  const required = Object.keys(table).filter(name => table[name]!.isRequired)
  return required.length === 0 ? 'an object' : `an object { ${required.join(', ')}, … }`
}

/** The error for a name that is not an option, with those that are and, if one of them is similar, a question. */
export function unknownOption (name: string, known: readonly string[], bad: OptionError): Error {
  const meant = closestName(name, known)
  const seen = meant === undefined ? 'an unknown option' : `an unknown option: did you mean "${meant}"?`
  return bad(name, `one of ${known.join(', ')}`, seen)
}

/**
 * Checks options against a table; an explicit `undefined` passes. `others` are further known names, which the caller
 * checks. Throws the error of the first option that is unknown, out of range, or required and missing; also throws if
 * `given` is not an object.
 */
export function checkOptions (
  given: object, table: Readonly<Record<string, OptionCheck>>, bad: OptionError, others: readonly string[] = []
): void {
  if (!isObject(given)) throw bad('options', objectOf(table), show(given))
  for (const [name, value] of Object.entries(given)) {
    const row = Object.hasOwn(table, name) ? table[name] : undefined
    if (!row) throw unknownOption(name, [...Object.keys(table), ...others], bad)
    if (value !== undefined && !row.ok(value)) throw bad(name, row.range, show(value))
  }
  for (const [name, { range, isRequired }] of Object.entries(table)) {
    if (isRequired && (given as Record<string, unknown>)[name] === undefined) throw bad(name, range, 'undefined')
  }
}
