import type { WireEvent } from './wire.ts'

/** Data by event name; the key `message` is for events without a name. */
export type SseEvents = object

/** The default: any name, any data. */
export interface AnyEvents { [name: string]: unknown }

type Common = Pick<WireEvent, 'id' | 'retry'>
type Named<E, K extends keyof E & string> = K extends 'message'
  ? { event?: K | '' | undefined, data: E[K] }
  : { event: K, data: E[K] }

/** An event whose data matches its name in `E`; with the default map, any event. */
export type SseEvent<E extends SseEvents = AnyEvents> = string extends keyof E
  ? WireEvent
  : { [K in keyof E & string]: Common & Named<E, K> }[keyof E & string] | { retry: number }

/**
 * The event types declared by an `SseEvents` map, for `app.topics.publish()`: an event without a name is a `message`.
 */
export type NamedEvent<E extends SseEvents> = { [K in keyof E & string]: Named<E, K> }[keyof E & string]

/** An item of a source: an event, or just the data of an unnamed one. */
export type SseItem<E extends SseEvents = AnyEvents> = string extends keyof E
  ? WireEvent | string | number | bigint | boolean | null | Uint8Array
  : SseEvent<E> | (E extends { message: infer M } ? Extract<M, string | number | bigint | boolean | null> : never)
