import assert from 'node:assert/strict'
import { inspect } from 'node:util'

/** The assertions of the contract suites: Node's own, so that the suites run under any test runner. */
export const { equal, ok, deepEqual: same, rejects } = assert as {
  equal: (actual: unknown, expected: unknown, message?: string) => void
  ok: (value: unknown, message?: string) => void
  deepEqual: (actual: unknown, expected: unknown, message?: string) => void
  rejects: (promise: Promise<unknown>, error: object) => Promise<void>
}

/**
 * Throws unless the value contains everything in the pattern: objects may have additional properties, arrays must have
 * the same length, and `Number` matches any number.
 */
export function match (actual: unknown, pattern: unknown, message?: string): void {
  const isAsExpected = fits(actual, pattern)
  ok(isAsExpected, `${message ?? 'does not match'}: ${inspect(actual)} instead of ${inspect(pattern)}`)
}

function fits (actual: unknown, pattern: unknown): boolean {
  if (pattern === Number) return typeof actual === 'number'
  if (typeof pattern !== 'object' || pattern === null) return Object.is(actual, pattern)
  if (typeof actual !== 'object' || actual === null) return false
  if (Array.isArray(pattern) && (!Array.isArray(actual) || actual.length !== pattern.length)) return false
  return Object.entries(pattern).every(([name, value]) => fits((actual as Record<string, unknown>)[name], value))
}

/** Waits until a condition holds; for effects that depend on the clock of a log or store. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => setTimeout(resolve, 5))
}
