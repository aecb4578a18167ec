/**
 * A clock in Unix ms for measuring intervals: it never goes back, and keeps running if the wall clock is set back. If
 * the wall clock jumps ahead (it was set forward, or the machine slept), this clock follows.
 */
export function steadyClock (): () => number {
  let aheadMs = -Infinity
  return () => {
    const monotonicMs = performance.now()
    aheadMs = Math.max(aheadMs, Date.now() - monotonicMs)
    return Math.round(monotonicMs + aheadMs)
  }
}
