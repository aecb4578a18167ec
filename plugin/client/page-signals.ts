import { browser } from './browser.ts'

/** Receives changes of the page and of the network. */
export interface PageListener {
  /** The network is back, or the page is visible again: the connection should be checked now. */
  wake (): void
  /** The page enters the back/forward cache, where it cannot keep a connection. */
  sleep (): void
  /** The page was restored from the back/forward cache. */
  resume (): void
}

/** Reports changes until `signal` is aborted. Does nothing in Node. */
export function watchPage (listener: PageListener, signal: AbortSignal): void {
  const { addEventListener, document } = browser
  const isPersisted = (event: Event): boolean => (event as Event & { persisted?: boolean }).persisted === true
  addEventListener?.('online', () => listener.wake(), { signal })
  addEventListener?.('pagehide', event => { if (isPersisted(event)) listener.sleep() }, { signal })
  addEventListener?.('pageshow', event => { if (isPersisted(event)) listener.resume() }, { signal })
  document?.addEventListener(
    'visibilitychange', () => { if (document.visibilityState === 'visible') listener.wake() }, { signal }
  )
}
