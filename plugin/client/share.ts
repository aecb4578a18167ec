import { browser } from './browser.ts'
import type { SubscribeOptions } from './options.ts'
import type { Transport } from './transport.ts'

/**
 * True where tabs can find each other: Web Locks and BroadcastChannel, which pages have over HTTPS and on localhost.
 */
export function canShare (): boolean {
  return browser.navigator?.locks !== undefined && typeof BroadcastChannel === 'function'
}

/** The transport over the connection of all tabs, loaded when it is used: most pages do without. */
export function acrossTabs (options: SubscribeOptions<never>, transport: Transport): Transport {
  return async (request, sink, signal) => {
    const { tabTransport } = await import('./tabs/group.ts')
    return await tabTransport(options, transport)(request, sink, signal)
  }
}
