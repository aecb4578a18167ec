/** Binary search: the first integer from `low` on for which a condition holds; `high` if there is none below it. */
export function firstWhere (low: number, high: number, holds: (index: number) => boolean): number {
  let from = low
  let to = high
  while (from < to) {
    const middle = Math.floor((from + to) / 2)
    if (holds(middle)) to = middle
    else from = middle + 1
  }
  return from
}
