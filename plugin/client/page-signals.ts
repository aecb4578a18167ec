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
  if (!browser.addEventListener) return
  const on = (target: { addEventListener?: EventTarget['addEventListener'] }, type: string, react: (event: Event) => void): void => {
    target.addEventListener?.(type, react, { signal })
  }
  on(browser, 'online', () => listener.wake())
  on(browser.document ?? {}, 'visibilitychange', () => { if (browser.document?.visibilityState === 'visible') listener.wake() })
  on(browser, 'pagehide', event => { if (isPersisted(event)) listener.sleep() })
  on(browser, 'pageshow', event => { if (isPersisted(event)) listener.resume() })
}

function isPersisted (event: Event): boolean {
  return (event as Event & { persisted?: boolean }).persisted === true
}
