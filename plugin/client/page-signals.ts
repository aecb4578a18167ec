import { browser } from './browser.ts'

/** What a page learns of itself and of the network. */
export interface PageListener {
  /** The network is back, or the page is visible again: look at the connection now. */
  wake (): void
  /** The page goes into the back/forward cache, where it can hold no connection. */
  sleep (): void
  /** The page came out of the back/forward cache. */
  resume (): void
}

/** Reports until `signal` is aborted. In Node there is nothing to report. */
export function watchPage (listener: PageListener, signal: AbortSignal): void {
  const { addEventListener, document } = browser
  const isPersisted = (event: Event): boolean => (event as Event & { persisted?: boolean }).persisted === true
  addEventListener?.('online', () => listener.wake(), { signal })
  addEventListener?.(
    'pagehide',
    event => {
      if (isPersisted(event)) listener.sleep()
    },
    { signal }
  )
  addEventListener?.(
    'pageshow',
    event => {
      if (isPersisted(event)) listener.resume()
    },
    { signal }
  )
  document?.addEventListener(
    'visibilitychange',
    () => {
      if (document.visibilityState === 'visible') listener.wake()
    },
    { signal }
  )
}
