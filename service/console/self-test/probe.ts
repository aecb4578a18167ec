import { fetchTransport, subscribe } from 'fastify-resumable-sse/client'
import type { Subscription } from 'fastify-resumable-sse/client'
import { urlOf } from '../page/api.ts'
import type { Api } from '../page/api.ts'
import { WatchedFetch } from '../tail/watched-fetch.ts'

/** The data of a test event. */
interface Payload { readonly run: string, readonly n: number }

/** How a stream ended: when, by the monotonic clock, and the browser's reason. */
export interface Cut { readonly atMs: number, readonly why: string }

/** A stream of the test's topic, and the events that the test publishes to it. */
export class Probe {
  readonly watched = new WatchedFetch()
  readonly #api: Api
  readonly #topic: string
  readonly #run = crypto.getRandomValues(new Uint32Array(2)).join('-')
  readonly #subscription: Subscription
  readonly #arrived: number[] = []
  readonly #waiting = new Map<number, () => void>()
  #published = 0
  /** Settles when the first message of the first stream has arrived. */
  readonly opened: Promise<true>
  /** Settles when a stream has ended for the first time. */
  readonly cut: Promise<Cut>
  /** Settles with the service's message if it rejects the stream permanently. */
  readonly rejected: Promise<string>

  constructor (api: Api, topic: string) {
    this.#api = api
    this.#topic = topic
    const { token } = api
    this.#subscription = subscribe({
      url: urlOf('events'),
      topics: [topic],
      ...(token.isSet ? { getToken: () => token.value } : {}),
      transport: fetchTransport(this.watched.fetch)
    })
    this.opened = new Promise(resolve => {
      this.#subscription.addEventListener('open', () => resolve(true), { once: true })
    })
    this.rejected = new Promise(resolve => {
      this.#subscription.addEventListener('error', ({ detail }) => { if (!detail.willRetry) resolve(detail.message) })
    })
    this.cut = this.#firstCut()
    this.#subscription.addEventListener('message', ({ data }) => this.#take(data))
  }

  /** Numbers of the events that have arrived, in order of arrival. */
  get arrived (): readonly number[] { return this.#arrived }
  get published (): number { return this.#published }

  /** Publishes an event with this much padding. Settles when it is acknowledged; `arrival` settles when it arrives. */
  async publish (paddingBytes = 0): Promise<{ arrival: Promise<true> }> {
    const n = this.#published++
    const arrival = new Promise<true>(resolve => this.#waiting.set(n, () => resolve(true)))
    await this.#api.publish(this.#topic, JSON.stringify({ run: this.#run, n, padding: randomText(paddingBytes) }))
    return { arrival }
  }

  reconnect (): void {
    this.#subscription.reconnect()
  }

  /** Ends the stream, and deletes the events of the test. */
  async close (): Promise<void> {
    this.#subscription.close()
    if (this.#published === 0) return
    await this.#api.call(`topics/${encodeURIComponent(this.#topic)}`, { method: 'DELETE' }).catch(() => {})
  }

  #take (data: string): void {
    const payload = parse(data)
    if (payload?.run !== this.#run || payload.n === undefined) return
    this.#arrived.push(payload.n)
    this.#waiting.get(payload.n)?.()
  }

  #firstCut (): Promise<Cut> {
    return new Promise(resolve => {
      let why = 'ended without an error'
      this.#subscription.addEventListener('error', ({ detail }) => { why = detail.message })
      this.#subscription.addEventListener('state', ({ detail }) => {
        if (detail.state === 'waiting') resolve({ atMs: performance.now(), why })
      })
    })
  }
}

/** Random text of at most 64 KiB, which no proxy can compress much. */
function randomText (bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(Math.ceil(bytes * 3 / 4)))
  return btoa(String.fromCharCode(...random))
}

/** Other clients may publish to the topic, too. */
function parse (text: string): Partial<Payload> | null | undefined {
  try {
    return JSON.parse(text) as Partial<Payload> | null
  } catch {
    return undefined
  }
}
