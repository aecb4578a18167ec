import { fetchTransport, subscribe } from 'fastify-resumable-sse/client'
import type { ErrorDetail, GapDetail, StreamItem, Subscription, SubscriptionState } from 'fastify-resumable-sse/client'
import { countOf, formatSpan } from '../page/format.ts'
import { noticeOf } from './item.ts'
import type { NewItem } from './item.ts'
import { WatchedFetch } from './watched-fetch.ts'

/** Settings of a session. */
export interface SessionInit {
  readonly url: URL
  readonly topics: readonly string[]
  /** Where to start; empty for the start given in the URL. */
  readonly cursor: string
  readonly token: string
}

/** Receives the events of a session. */
export interface SessionListener {
  item (item: NewItem): void
  state (state: SubscriptionState, text: string): void
  /** The session has ended; `failure` is the error if it did not end on request. */
  closed (failure: ErrorDetail | undefined): void
}

/**
 * One subscription of the page, over any number of successive connections. The library's client reconnects; this class
 * counts and describes what happens.
 */
export class Session {
  readonly #subscription: Subscription
  readonly #listener: SessionListener
  readonly watched = new WatchedFetch()
  #opened = 0
  #gaps = 0
  #events = 0
  #failure: ErrorDetail | undefined
  #isStopped = false

  constructor ({ url, topics, cursor, token }: SessionInit, listener: SessionListener) {
    this.#listener = listener
    this.#subscription = subscribe({
      url,
      topics,
      ...(cursor === '' ? {} : { lastEventId: cursor }),
      ...(token === '' ? {} : { getToken: () => token }),
      transport: fetchTransport(this.watched.fetch)
    })
    this.#listen()
    void this.#read()
  }

  get topics (): readonly string[] { return this.#subscription.topics }
  get cursor (): string { return this.#subscription.lastEventId }
  get state (): SubscriptionState { return this.#subscription.state }
  /** The number of streams after the first one. */
  get reconnects (): number { return Math.max(0, this.#opened - 1) }
  get gaps (): number { return this.#gaps }
  get events (): number { return this.#events }

  /** Changes the topics; topics that remain keep their positions. */
  setTopics (topics: readonly string[]): void {
    const before = this.topics
    const added = topics.filter(topic => !before.includes(topic))
    const removed = before.filter(topic => !topics.includes(topic))
    if (added.length > 0) this.#subscription.add(...added)
    if (removed.length > 0) this.#subscription.remove(...removed)
  }

  reconnect (): void {
    this.#listener.item(noticeOf('notice', 'reconnect', 'disconnected on request, continues after the cursor'))
    this.#subscription.reconnect()
  }

  stop (): void {
    this.#isStopped = true
    this.#subscription.close()
  }

  #listen (): void {
    const subscription = this.#subscription
    subscription.addEventListener('open', ({ detail }) => {
      this.#opened++
      const begin = detail.cursor === '' ? '' : `continues after ${detail.cursor}`
      this.#listener.item(noticeOf('notice', this.#opened === 1 ? 'open' : 'reopened', begin))
    })
    subscription.addEventListener('expiring', ({ detail }) => {
      const left = formatSpan(detail.expiresIn * 1_000)
      this.#listener.item(noticeOf('notice', 'expiring', `the right to listen ends in ${left}`))
    })
    subscription.addEventListener('error', ({ detail }) => {
      const { message, willRetry } = detail
      if (!willRetry) this.#failure = detail
      this.#listener.item(noticeOf('notice', willRetry ? 'lost' : 'rejected', message))
    })
    subscription.addEventListener('state', ({ detail }) => this.#stateChanged(detail.state, detail.retryInMs))
  }

  /** Settles when the subscription ends. */
  async #read (): Promise<void> {
    try {
      for await (const item of this.#subscription) this.#take(item)
    } catch {
      // Already reported through the event `error`.
    }
  }

  #take (item: StreamItem): void {
    if (item.kind === 'event') {
      this.#events++
      const { topic = '', id, event, data, lastEventId } = item
      this.#listener.item({ kind: 'event', topic, id, event, data, cursor: lastEventId })
    } else if (item.kind === 'gap') {
      this.#gaps++
      this.#listener.item(noticeOf('gap', 'gap', describeGap(item), item.topic))
    } else if (item.kind === 'end') {
      const what = item.topic === undefined ? 'all topics are finished' : `finished: ${item.reason}`
      this.#listener.item(noticeOf('notice', 'end', what, item.topic))
    }
  }

  #stateChanged (state: SubscriptionState, retryInMs: number | undefined): void {
    this.#listener.state(state, this.#describe(state, retryInMs))
    if (state === 'closed') this.#listener.closed(this.#failure)
  }

  #describe (state: SubscriptionState, retryInMs: number | undefined): string {
    switch (state) {
      case 'connecting': return 'connecting'
      case 'open': return 'connected'
      case 'waiting': return retryInMs === undefined ? 'waiting for the page' : `reconnects in ${formatSpan(retryInMs)}`
      case 'closed': return this.#describeEnd()
    }
  }

  #describeEnd (): string {
    if (this.#failure) return this.#failure.status === undefined ? 'failed' : `rejected with ${this.#failure.status}`
    return this.#isStopped ? 'stopped' : 'finished'
  }
}

function describeGap ({ reason, after, resumedAt, missed }: GapDetail): string {
  const what = missed === undefined ? 'events are missing' : `${countOf(missed, 'event')} missing`
  return `${what} (${reason}) after ${after ?? 'an unknown cursor'}, resumed at ${resumedAt ?? 'the end'}`
}
