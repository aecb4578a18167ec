/** What a query parameter is converted to: from a string, or from a list of them if it was repeated. */
type Convert = (value: unknown) => unknown

/** Converts these parameters where they are present, and keeps all others. The schema checks the result. */
export function convertQuery (query: unknown, conversions: ReadonlyMap<string, Convert>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(query as object).map(([name, value]) => [name, conversions.get(name)?.(value) ?? value])
  )
}
