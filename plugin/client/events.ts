/**
 * What a subscription dispatches. Control events (`open`, `gap`, `end`, `expiring`, `error`, `state`) are
 * `CustomEvent`s whose `detail` is one of the types below; published events are `TopicEvent`s under their own name,
 * `message` without one.
 */

/**
 * Names of control events. A published event with one of these names is dispatched as `event:<name>`, as `event:end`.
 */
export const CONTROL_NAMES = ['open', 'gap', 'end', 'expiring', 'error', 'state'] as const

/**
 * `connecting`: a request is on its way; `open`: the server answers with a stream; `waiting`: until the next try;
 * `closed`: for good.
 */
export type SubscriptionState = 'connecting' | 'open' | 'waiting' | 'closed'

/** The first message of a stream has come: `stream.open`, with the cursor from which the stream goes on. */
export interface OpenDetail { readonly cursor: string }

/** Events of a topic are missing here, with the data of `stream.gap`. */
export interface GapDetail {
  readonly topic: string
  readonly reason: 'trimmed' | 'fork' | 'unknown' | 'expired'
  /** The client's position, or null when the server could not read it. */
  readonly after: string | null
  /** The id of the first event after the gap, or null when there is none yet. */
  readonly resumedAt: string | null
  /** How many events are missing, where that is known. */
  readonly missed?: number
}

/** A topic was read to its end. Without `topic` the server answered 204: nothing remains of any topic. */
export interface EndDetail { readonly topic?: string, readonly reason: string }

/** The right to listen ends in `expiresIn` seconds. */
export interface ExpiringDetail { readonly expiresIn: number }

/** A failure. With `willRetry` the subscription connects again by itself; without, it is closed. */
export interface ErrorDetail {
  readonly message: string
  readonly willRetry: boolean
  /** The HTTP status, where there was an answer. */
  readonly status?: number
  readonly cause?: unknown
}

export interface StateDetail {
  readonly state: SubscriptionState
  /** In `waiting`: milliseconds until the next try. */
  readonly retryInMs?: number
}

export interface ControlEvents {
  open: CustomEvent<OpenDetail>
  gap: CustomEvent<GapDetail>
  end: CustomEvent<EndDetail>
  expiring: CustomEvent<ExpiringDetail>
  error: CustomEvent<ErrorDetail>
  state: CustomEvent<StateDetail>
}

/** What there is to know of a published event. */
export interface Published<Data = string> {
  /** Its name, `message` when it was published without one. */
  readonly event: string
  readonly data: Data
  /** Its topic, or undefined when the server does not say it (several topics without an envelope). */
  readonly topic: string | undefined
  /** Its own id. With several topics that is not the cursor. */
  readonly id: string
  /** The cursor after this event: what a later subscription continues from, as its option `lastEventId`. */
  readonly lastEventId: string
}

/** A published event, dispatched under its name. Like a `MessageEvent`, it has `data` and `lastEventId`. */
export class TopicEvent<Data = string> extends Event implements Published<Data> {
  readonly event: string
  readonly data: Data
  readonly topic: string | undefined
  readonly id: string
  readonly lastEventId: string

  constructor (published: Published<Data>) {
    super((CONTROL_NAMES as readonly string[]).includes(published.event) ? `event:${published.event}` : published.event)
    this.event = published.event
    this.data = published.data
    this.topic = published.topic
    this.id = published.id
    this.lastEventId = published.lastEventId
  }
}

/** What `for await` over a subscription yields. */
export type StreamItem<Data = string> =
  | { readonly kind: 'event' } & Published<Data>
  | { readonly kind: 'gap' } & GapDetail
  | { readonly kind: 'end' } & EndDetail
