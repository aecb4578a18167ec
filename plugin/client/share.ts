import { browser } from './browser.ts'
import type { SubscribeOptions } from './options.ts'
import type { Transport } from './connection/transport.ts'

/**
 * True if tabs can find each other: this needs Web Locks and BroadcastChannel, which are available over HTTPS and on
 * localhost.
 */
export function canShare (): boolean {
  return browser.navigator?.locks !== undefined && typeof BroadcastChannel === 'function'
}

/** The transport over the connection that all tabs share. Imported on first use, because most pages do not need it. */
export function acrossTabs (options: SubscribeOptions<never>, transport: Transport): Transport {
  return async (request, sink, signal) => {
    const { tabTransport } = await import('./tabs/group.ts')
    return await tabTransport(options, transport)(request, sink, signal)
  }
}
