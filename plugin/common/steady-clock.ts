/**
 * A clock in Unix ms for intervals: it never goes back, and passes as time does also after the wall clock was set back.
 * Where the wall clock is ahead (it was set forward, or the machine slept), it follows.
 */
export function steadyClock (): () => number {
  let aheadMs = -Infinity
  return () => {
    const monotonicMs = performance.now()
    aheadMs = Math.max(aheadMs, Date.now() - monotonicMs)
    return Math.round(monotonicMs + aheadMs)
  }
}
