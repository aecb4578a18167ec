import { Connector } from './connection/connector.ts'
import type { ConnectorListener } from './connection/connector-listener.ts'
import { CursorStorage } from './cursor.ts'
import { TopicEvent } from './events.ts'
import type { ControlEvents, ErrorDetail, Published, StreamItem, SubscriptionState } from './events.ts'
import { ItemQueue } from './item-queue.ts'
import { messageOf } from './messages.ts'
import { checkOptions, checkTopics } from './options.ts'
import type { SubscribeOptions } from './options.ts'
import type { Transport } from './connection/transport.ts'

/** Maps the name of each event to its data. */
export type EventMap = Record<string, unknown>

/** The type of the event with this name, as a listener receives it. */
export type EventOf<Events extends EventMap, Name extends string> =
  Name extends keyof ControlEvents ? ControlEvents[Name]
    : TopicEvent<Name extends keyof Events ? Events[Name] : Events[keyof Events]>

type Listener<Events extends EventMap, Name extends string> =
  ((event: EventOf<Events, Name>) => void) | { handleEvent (event: EventOf<Events, Name>): void }

type ListenerOptions<Method extends 'addEventListener' | 'removeEventListener'> = Parameters<EventTarget[Method]>[2]

/** The error of a subscription that failed permanently, as thrown by `for await`. */
export class SubscriptionError extends Error {
  /** The HTTP status, if there was a response. */
  readonly status: number | undefined

  constructor ({ message, status, cause }: ErrorDetail) {
    super(message, { cause })
    this.name = 'SubscriptionError'
    this.status = status
  }
}

/** The methods of EventTarget, with the types of the events. */
export interface Subscription<Events extends EventMap> {
  addEventListener<Name extends string> (
    type: Name, listener: Listener<Events, Name> | null, options?: ListenerOptions<'addEventListener'>
  ): void
  removeEventListener<Name extends string> (
    type: Name, listener: Listener<Events, Name> | null, options?: ListenerOptions<'removeEventListener'>
  ): void
}

/**
 * One subscription to topics, over any number of successive connections. Events are dispatched under their names, as by
 * EventSource, and `for await` yields all of them. It ends with `close()`, when all topics have ended, or with an error
 * that another attempt would not solve.
 */
export class Subscription<Events extends EventMap = Record<string, string>> extends EventTarget
  implements AsyncIterable<StreamItem<Events[keyof Events]>> {
  readonly #connector: Connector
  readonly #storage: CursorStorage
  readonly #parse: ((text: string, event: Published) => unknown) | undefined
  readonly #queues = new Set<ItemQueue<StreamItem<Events[keyof Events]>>>()
  #topics: readonly string[]

  /** Internal: use `subscribe()`. */
  constructor (options: SubscribeOptions<Events[keyof Events]>, transport: Transport) {
    checkOptions(options as SubscribeOptions<never>)
    super()
    const { topics = [], lastEventId = '', persist, parse, signal } = options
    this.#topics = [...topics]
    this.#storage = new CursorStorage(persist)
    this.#parse = parse
    this.#connector = new Connector(
      options as SubscribeOptions<never>,
      transport,
      this.#storage.read() || lastEventId,
      this.#listener()
    )
    if (signal?.aborted) this.close()
    // Only until it is closed: a signal may live as long as the page, and would keep it in memory.
    else signal?.addEventListener('abort', () => this.close(), { signal: this.#connector.signal })
  }

  get state (): SubscriptionState { return this.#connector.state }

  /** The topics, in the order given. */
  get topics (): readonly string[] { return this.#topics }

  /** The cursor after the last event, from which another subscription would continue. Empty before the first event. */
  get lastEventId (): string { return this.#connector.cursor }

  /** Subscribes to further topics. The others keep their positions; a new one starts now. */
  add (...topics: string[]): void {
    this.#setTopics([...this.#topics, ...topics])
  }

  /** Unsubscribes from topics. The others keep their positions. If none is left, there is no connection. */
  remove (...topics: string[]): void {
    this.#setTopics(this.#topics.filter(topic => !topics.includes(topic)))
  }

  /** Connects again immediately, and continues from the last event. */
  reconnect (): void {
    this.#connector.reconnect()
  }

  /** Ends the subscription, and all loops over it. */
  close (): void {
    this.#connector.close()
  }

  /** Yields all items from now on. Leaving the loop closes the subscription; a slow loop slows the connection down. */
  [Symbol.asyncIterator] (): AsyncIterator<StreamItem<Events[keyof Events]>, undefined> {
    const queue = new ItemQueue<StreamItem<Events[keyof Events]>>(() => this.close())
    if (this.state === 'closed') queue.end()
    else this.#queues.add(queue)
    return queue
  }

  #setTopics (topics: readonly string[]): void {
    checkTopics(topics)
    this.#topics = [...new Set(topics)]
    this.#connector.setTopics(this.#topics)
  }

  #listener (): ConnectorListener {
    return {
      opened: () => this.#control('open', { cursor: this.lastEventId }),
      moved: cursor => this.#storage.write(cursor),
      published: event => this.#publish(event),
      gap: detail => { this.#push({ kind: 'gap', ...detail }); this.#control('gap', detail) },
      ended: detail => { this.#push({ kind: 'end', ...detail }); this.#control('end', detail) },
      expiring: detail => this.#control('expiring', detail),
      failed: detail => this.#fail(detail),
      changed: (state, retryInMs) => this.#change(state, retryInMs),
      ready: () => this.#ready()
    }
  }

  #publish (event: Published): void {
    let data: Events[keyof Events]
    try {
      data = (this.#parse ? this.#parse(event.data, event) : event.data) as Events[keyof Events]
    } catch (cause) {
      // Not thrown: for the transport it would be a broken connection.
      const detail = { message: messageOf(cause), topic: event.topic, id: event.id, cause, willRetry: true }
      this.#push({ kind: 'error', ...detail })
      return this.#fail(detail)
    }
    this.#push({ kind: 'event', ...event, data })
    this.dispatchEvent(new TopicEvent({ ...event, data }))
  }

  #fail (detail: ErrorDetail): void {
    if (!detail.willRetry) for (const queue of this.#queues) queue.end(new SubscriptionError(detail))
    this.#control('error', detail)
  }

  #change (state: SubscriptionState, retryInMs: number | undefined): void {
    if (state === 'closed') for (const queue of this.#queues) queue.end()
    this.#control('state', { state, ...(retryInMs === undefined ? {} : { retryInMs }) })
  }

  #push (item: StreamItem<Events[keyof Events]>): void {
    for (const queue of this.#queues) queue.push(item)
  }

  /** Settles when each loop has caught up. */
  #ready (): Promise<unknown> | undefined {
    const slow = [...this.#queues].filter(queue => !queue.hasRoom)
    return slow[0] && Promise.all(slow.map(queue => queue.ready()))
  }

  #control (type: keyof ControlEvents, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }
}
