import { show } from './show.ts'

/** One row of a table of options: what is allowed, in words, and the test for it. */
export interface OptionCheck { readonly range: string, readonly ok: (value: unknown) => boolean }

/** Makes the error for an option: its name, what is allowed, and what was seen. */
export type OptionError = (name: string, range: string, seen: string) => Error

export const isBetween = (value: unknown, min: number, max: number): boolean =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max
export const isFunction = (value: unknown): boolean => typeof value === 'function'
/** True for an object that is no list. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An integer within bounds, both included. Without a unit it is a number of something that the name says. */
export function integer (min: number, max: number, unit?: string): OptionCheck {
  const range = `an integer from ${min} to ${max}${unit === undefined ? '' : ` (${unit})`}`
  return { range, ok: value => isBetween(value, min, max) }
}

export const trueOrFalse: OptionCheck = { range: 'true or false', ok: value => typeof value === 'boolean' }

/** The options that were given: an explicit `undefined` is none. */
export function withoutUndefined<T extends object> (options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}

/**
 * Checks options by a table; an explicit `undefined` passes. `others` are names that are known, too, and checked
 * elsewhere. Throws the error of the first option that is unknown or not allowed.
 */
export function checkOptions (
  given: object, table: Readonly<Record<string, OptionCheck>>, bad: OptionError, others: readonly string[] = []
): void {
  for (const [name, value] of Object.entries(given)) {
    const row = Object.hasOwn(table, name) ? table[name] : undefined
    if (!row) throw bad(name, `one of ${[...Object.keys(table), ...others].join(', ')}`, 'an unknown option')
    if (value !== undefined && !row.ok(value)) throw bad(name, row.range, show(value))
  }
}
