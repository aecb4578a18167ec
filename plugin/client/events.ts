import type { Gap, IN_BAND, InBandData } from '../common/in-band.ts'

/**
 * The events that a subscription dispatches. Control events (`open`, `gap`, `end`, `expiring`, `error`, `state`) are
 * `CustomEvent`s whose `detail` has one of the types below; published events are `TopicEvent`s under their own name, or
 * `message` if they have none.
 */

/**
 * Names of control events. A published event with one of these names is dispatched with a prefix, such as `event:end`.
 */
export const CONTROL_NAMES = ['open', 'gap', 'end', 'expiring', 'error', 'state'] as const

/**
 * `connecting`: a request is in progress; `open`: the server responds with a stream; `waiting`: until the next attempt;
 * `closed`: permanently.
 */
export type SubscriptionState = 'connecting' | 'open' | 'waiting' | 'closed'

/** The first message of a stream has arrived: `stream.open`, with the cursor from which the stream continues. */
export interface OpenDetail { readonly cursor: string }

/** Events of a topic are missing at this point; the data of `stream.gap`. */
export type GapDetail = Readonly<Gap>

/** A topic was read to its end. Without `topic` the server responded with 204: nothing remains of any topic. */
export interface EndDetail { readonly topic?: string, readonly reason: string }

/** The permission to subscribe ends in `expiresIn` seconds; the data of `stream.expiring`. */
export type ExpiringDetail = Readonly<InBandData[typeof IN_BAND.expiring]>

/**
 * A failure. If `willRetry` is true, the subscription continues, with a new connection if that is necessary; otherwise
 * it is closed.
 */
export interface ErrorDetail {
  readonly message: string
  readonly willRetry: boolean
  /** The HTTP status, if there was a response. */
  readonly status?: number
  readonly cause?: unknown
  /** The id of the event, if the option `parse` failed: this event is not delivered, and the stream continues. */
  readonly id?: string
  /** The topic of the event with this id. */
  readonly topic?: string | undefined
}

export interface StateDetail {
  readonly state: SubscriptionState
  /** In state `waiting`: milliseconds until the next attempt. */
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

/** A published event. */
export interface Published<Data = string> {
  /** Its name; `message` if it was published without one. */
  readonly event: string
  readonly data: Data
  /** Its topic; undefined if the server does not send it (several topics without an envelope). */
  readonly topic: string | undefined
  /** Its own id. With several topics that differs from the cursor. */
  readonly id: string
  /** The cursor after this event. A later subscription continues from it with its option `lastEventId`. */
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

/**
 * The items that `for await` over a subscription yields. An `error` is in place of an event that the option `parse`
 * could not convert; other failures are not yielded.
 */
export type StreamItem<Data = string> =
  | { readonly kind: 'event' } & Published<Data>
  | { readonly kind: 'gap' } & GapDetail
  | { readonly kind: 'end' } & EndDetail
  | { readonly kind: 'error' } & ErrorDetail
