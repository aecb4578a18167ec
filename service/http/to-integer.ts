/**
 * Digits of a query, with or without a minus sign, as a number. Anything else, and what is longer than `maxLength`
 * characters, is returned unchanged, for the schema to reject.
 */
export function toInteger (value: unknown, maxLength = 9): unknown {
  const isInteger = typeof value === 'string' && /^-?\d+$/.test(value) && value.length <= maxLength
  return isInteger ? Number(value) : value
}
