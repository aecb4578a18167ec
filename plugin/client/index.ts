import { eventSourceTransport } from './connection/event-source-transport.ts'
import { fetchTransport } from './connection/fetch-transport.ts'
import type { SubscribeOptions } from './options.ts'
import { acrossTabs, canShare } from './share.ts'
import { Subscription } from './subscription.ts'
import type { EventMap } from './subscription.ts'

export { eventSourceTransport } from './connection/event-source-transport.ts'
export { fetchTransport } from './connection/fetch-transport.ts'
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
export type { ConnectionRequest, ConnectionSink, Outcome, Transport, WireMessage } from './connection/transport.ts'

/**
 * Subscribes to topics, and stays subscribed across server restarts, expired tokens, lost networks and frozen pages.
 * Each event is delivered once and in the order of its topic, or a `gap` reports what is missing. Throws a TypeError
 * for an invalid option.
 *
 * `Events` maps the names of events to their data, for `addEventListener`.
 */
export function subscribe<Events extends EventMap = Record<string, string>> (
  options: SubscribeOptions<Events[keyof Events]>
): Subscription<Events> {
  const transport = options.transport ?? fetchTransport()
  if (options.shareAcrossTabs !== true || !canShare()) return new Subscription(options, transport)
  // The leading tab takes care of token, headers and stalls.
  const own = { ...options, getToken: undefined, headers: undefined, stallTimeoutMs: 0 }
  return new Subscription(own, acrossTabs(options as SubscribeOptions<never>, transport))
}

/** The options that EventSource cannot support. */
const FETCH_ONLY = ['transport', 'headers', 'shareAcrossTabs', 'stallTimeoutMs'] as const

/** The options of `subscribeNative()`. */
export interface SubscribeNativeOptions<Data = string>
  extends Omit<SubscribeOptions<Data>, typeof FETCH_ONLY[number]> {
  /** The names of events other than `message`, because EventSource has no listener for all events. Default: none. */
  readonly eventNames?: readonly string[] | undefined
}

/**
 * The same over the browser's EventSource, with no `fetch` code and no parser in the bundle. Throws a TypeError for an
 * option that EventSource cannot support.
 */
export function subscribeNative<Events extends EventMap = Record<string, string>> (
  options: SubscribeNativeOptions<Events[keyof Events]>
): Subscription<Events> {
  const { eventNames, ...rest } = options
  for (const name of FETCH_ONLY) {
    if ((rest as SubscribeOptions<never>)[name] !== undefined) {
      throw new TypeError(`subscribeNative: EventSource does not support option ${name}`)
    }
  }
  // EventSource does not show when bytes arrive.
  return new Subscription({ ...rest, stallTimeoutMs: 0 }, eventSourceTransport(eventNames))
}
