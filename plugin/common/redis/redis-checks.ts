import { integer, isObject } from '../option-check.ts'
import type { OptionCheck } from '../option-check.ts'

/** Upper bound of all time options of the Redis log and the Redis token store. */
export const MAX_MS = 600_000

/** Checks shared by everything that uses Redis; `parseTarget` checks the connection in detail. */
export const redisChecks = {
  connection: {
    range: 'a URL, ioredis options or { cluster: nodes }',
    ok: value => typeof value === 'string' || isObject(value),
    isRequired: true
  },
  prefix: {
    range: 'a string without braces and white space',
    ok: value => typeof value === 'string' && !/[{}\s]/.test(value)
  },
  commandTimeoutMs: integer(1, MAX_MS)
} satisfies Record<string, OptionCheck>
