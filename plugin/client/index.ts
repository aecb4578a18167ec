import { eventSourceTransport } from './event-source-transport.ts'
import { fetchTransport } from './fetch-transport.ts'
import type { SubscribeOptions } from './options.ts'
import { acrossTabs, canShare } from './share.ts'
import { Subscription } from './subscription.ts'
import type { EventMap } from './subscription.ts'

export { eventSourceTransport } from './event-source-transport.ts'
export { fetchTransport } from './fetch-transport.ts'
export { TopicEvent } from './events.ts'
export type {
  ControlEvents,
  EndDetail,
  ErrorDetail,
  ExpiringDetail,
  GapDetail,
  OpenDetail,
  Published,
  StateDetail,
  StreamItem,
  SubscriptionState
} from './events.ts'
export type { SubscribeOptions } from './options.ts'
export { Subscription, SubscriptionError } from './subscription.ts'
export type { EventMap, EventOf } from './subscription.ts'
export type { ConnectionRequest, ConnectionSink, Outcome, Transport, WireMessage } from './transport.ts'

/**
 * Subscribes to topics, and stays subscribed: over restarts of the server, expired tokens, lost networks and frozen
 * pages. Each event comes once and in the order of its topic, or a `gap` says what is missing. Throws a TypeError for
 * an option that is wrong.
 *
 * `Events` maps the names of events to their data, for `addEventListener`.
 */
export function subscribe<Events extends EventMap = Record<string, string>> (
  options: SubscribeOptions<Events[keyof Events]>
): Subscription<Events> {
  const transport = options.transport ?? fetchTransport()
  if (options.shareAcrossTabs !== true || !canShare()) return new Subscription(options, transport)
  // Token, headers and stalls are the leader's business.
  const own = { ...options, getToken: undefined, headers: undefined, stallTimeoutMs: 0 }
  return new Subscription(own, acrossTabs(options as SubscribeOptions<never>, transport))
}

/**
 * The same over the browser's EventSource, without a byte of `fetch` and parser in the bundle. `eventNames` lists the
 * names of events besides `message`, as EventSource has no listener for all.
 */
export function subscribeNative<Events extends EventMap = Record<string, string>> (
  options: SubscribeOptions<Events[keyof Events]> & { readonly eventNames?: readonly string[] }
): Subscription<Events> {
  const { eventNames, ...rest } = options
  return new Subscription(rest, eventSourceTransport(eventNames))
}
