import { ItemSink } from './item-sink.ts'
import type { TopicEnd } from '../log/lease.ts'
import type { TopicEvent } from '../read-topic.ts'
import { IN_BAND } from '../../common/in-band.ts'
import type { Gap } from '../../common/in-band.ts'

/**
 * The items of `for await` over a subscription. `cursor` is where to continue after the item: pass it as the option
 * `after` of another subscription.
 */
export type SubscriptionItem =
  | { kind: 'event', cursor: string } & TopicEvent
  /** Events of a topic are missing here, with the data of `stream.gap`. */
  | { kind: 'gap', cursor: string } & Gap
  /** A closed topic was read to its end, with the data of `stream.end`. */
  | { kind: 'end', cursor: string, topic: string } & TopicEnd

/** The kind of an item by the name of the event in the frame. */
const KINDS: ReadonlyMap<string | undefined, SubscriptionItem['kind']> = new Map([
  [undefined, 'event'],
  [IN_BAND.gap, 'gap'],
  [IN_BAND.end, 'end']
])

interface ItemsInit {
  /** Where it starts, as a cursor; empty if at the newest event. */
  cursor: string
  /** Reads into the sink until the reader has ended; called by the first `next()`. */
  read: (sink: ItemSink) => Promise<void>
  /** The loop ends when one of them aborts. */
  signals: readonly AbortSignal[]
}

/**
 * One loop over a subscription. It starts with the first `next()`, and releases its resources when it ends: by
 * `return()` (a loop that is left), by a signal, by an error, or when every topic has ended.
 */
export class Items implements AsyncIterator<SubscriptionItem, undefined> {
  readonly #init: ItemsInit
  readonly #sink = new ItemSink()
  #cursor: string
  #items: SubscriptionItem[] = []
  #hasBegun = false
  #failure: { error: unknown } | undefined

  constructor (init: ItemsInit) {
    this.#init = init
    this.#cursor = init.cursor
  }

  /** The next item, as soon as there is one; `done` if nothing follows. Rejects with the error of the log, once. */
  async next (): Promise<IteratorResult<SubscriptionItem, undefined>> {
    this.#begin()
    for (;;) {
      const item = this.#items.shift()
      if (item) return { done: false, value: item }
      await this.#sink.arrival()
      const frame = this.#sink.take()
      if (frame) this.#items.push(...this.#parse(frame))
      else if (this.#items.length === 0 && !this.#sink.isOpen) return this.#finish()
    }
  }

  /** Ends the loop immediately, including a pending `next()`. */
  async return (): Promise<IteratorResult<SubscriptionItem, undefined>> {
    this.#close()
    return { done: true, value: undefined }
  }

  #begin (): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    this.#listen()
    if (this.#sink.isOpen) void this.#read()
  }

  async #read (): Promise<void> {
    try {
      await this.#init.read(this.#sink)
    } catch (error) {
      // A loop that was left does not report errors.
      if (this.#sink.isOpen) this.#failure = { error }
    } finally {
      this.#sink.end()
    }
  }

  #finish (): IteratorResult<SubscriptionItem, undefined> {
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure.error
    return { done: true, value: undefined }
  }

  #listen (): void {
    const close = (): void => this.#close()
    for (const signal of this.#init.signals) {
      if (signal.aborted) return close()
      signal.addEventListener('abort', close, { once: true })
      void this.#sink.closed.then(() => signal.removeEventListener('abort', close))
    }
  }

  #close (): void {
    this.#hasBegun = true
    this.#sink.close()
    this.#items = []
    this.#failure = undefined
  }

  #parse (frame: Buffer): SubscriptionItem[] {
    return frame.toString().split('\n\n').slice(0, -1).flatMap(block => {
      const { id, event, data } = parseBlock(block)
      // The first of several gaps has no cursor: continuing from the last cursor repeats all of them.
      this.#cursor = id ?? this.#cursor
      const kind = KINDS.get(event)
      return kind === undefined ? [] : [{ kind, cursor: this.#cursor, ...JSON.parse(data) } as SubscriptionItem]
    })
  }
}

interface Block { id?: string, event?: string, data: string }

/** An event in the format `ITEM`, or an in-band frame: its data is one line of JSON. */
function parseBlock (block: string): Block {
  const fields = block.split('\n').map(line => {
    const at = line.indexOf(': ')
    return [line.slice(0, at), line.slice(at + 2)] as const
  })
  return Object.fromEntries(fields) as unknown as Block
}
