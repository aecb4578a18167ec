import { Backoff } from './backoff.ts'
import { browser } from './browser.ts'
import { positionOf, tagOf } from './cursor.ts'
import { publishedOf } from './envelope.ts'
import type { EndDetail, ErrorDetail, ExpiringDetail, GapDetail, Published, SubscriptionState } from './events.ts'
import { isTemporary, messageOf, parseDetail } from './messages.ts'
import type { SubscribeOptions } from './options.ts'
import { watchPage } from './page-signals.ts'
import { StallWatch } from './stall-watch.ts'
import { TokenKeeper } from './token.ts'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport, WireMessage } from './transport.ts'

/** Who listens to a connector. Calls are synchronous, in the order of the wire. */
export interface ConnectorListener {
  opened (): void
  /** The cursor moved, and what moved it has been delivered. */
  moved (cursor: string): void
  published (event: Published): void
  gap (detail: GapDetail): void
  ended (detail: EndDetail): void
  expiring (detail: ExpiringDetail): void
  failed (detail: ErrorDetail): void
  changed (state: SubscriptionState, retryInMs?: number): void
  /** Settles when more events can be accepted; undefined for at once. */
  ready (): Promise<void> | undefined
}

const DEFAULT_INITIAL_MS = 3_000
const DEFAULT_MAX_MS = 30_000
const NO_CONTENT = 204
const UNAUTHORIZED = 401

/** Why an attempt was aborted by ourselves. */
type Interruption = 'again' | 'stalled' | 'asleep' | 'closed'

/**
 * Keeps one stream open: connects, judges how it ended, waits, and connects again with the cursor. One attempt at a
 * time; what comes from an attempt that was aborted is dropped, so that no event comes twice.
 */
export class Connector {
  readonly #options: SubscribeOptions<never>
  readonly #listener: ConnectorListener
  readonly #transport: Transport
  readonly #backoff: Backoff
  readonly #stall: StallWatch
  readonly #token: TokenKeeper
  readonly #lifetime = new AbortController()
  readonly #finished = new Set<string>()
  #topics: readonly string[]
  #cursor: string
  #attempt: AbortController | undefined
  #state: SubscriptionState = 'connecting'
  #hasBeenOpen = false
  #isOpen = false
  /** The first message of the stream has come. */
  #isAnnounced = false
  #isAsleep = false
  /** The last change of topics. */
  #changing: Promise<void> = Promise.resolve()
  /** Ends the current wait, of whatever kind. */
  #proceed: (() => void) | undefined

  constructor (options: SubscribeOptions<never>, transport: Transport, cursor: string, listener: ConnectorListener) {
    this.#options = options
    this.#listener = listener
    this.#transport = transport
    this.#topics = [...new Set(options.topics)].sort()
    this.#cursor = cursor
    const { initialMs = DEFAULT_INITIAL_MS, maxMs = DEFAULT_MAX_MS } = options.backoff ?? {}
    this.#backoff = new Backoff({ initialMs, maxMs })
    this.#stall = new StallWatch(() => this.#interrupt('stalled'), options.stallTimeoutMs)
    this.#token = new TokenKeeper(options.getToken, this.#tokenParameter !== undefined)
    watchPage(
      { wake: () => this.#wake(), sleep: () => this.#sleep(), resume: () => this.#resume() },
      this.#lifetime.signal
    )
    // Not before the caller could add its listeners.
    queueMicrotask(() => { void this.#run() })
  }

  get cursor (): string { return this.#cursor }
  get topics (): readonly string[] { return this.#topics }
  get state (): SubscriptionState { return this.#state }

  /** Connects again at once, from the cursor. */
  reconnect (): void {
    this.#interrupt('again')
    this.#proceed?.()
  }

  /** Begins again with these topics, from this cursor. */
  restart (topics: readonly string[], cursor: string): void {
    this.#topics = topics
    this.#cursor = cursor
    this.reconnect()
  }

  /** Changes the topics. Each keeps its place, a new one begins now. */
  setTopics (topics: readonly string[]): void {
    const after = [...new Set(topics)].sort()
    this.#changing = this.#changing.then(async () => {
      const before = this.#topics
      if (before.join() === after.join()) return
      // The id of an only topic does not say which topic it is of.
      const tag = before.length === 1 && after.length > 1 ? await tagOf(before[0]!) : undefined
      this.#cursor = tag === undefined ? this.#cursor : positionOf(tag, this.#cursor)
      this.#topics = after
      for (const topic of this.#finished) if (!after.includes(topic)) this.#finished.delete(topic)
      this.reconnect()
    })
  }

  close (): void {
    if (this.#lifetime.signal.aborted) return
    this.#lifetime.abort()
    this.#interrupt('closed')
    this.#proceed?.()
    this.#change('closed')
  }

  get #isClosed (): boolean { return this.#lifetime.signal.aborted }

  get #tokenParameter (): string | undefined {
    return this.#options.tokenParameter ?? this.#transport.tokenParameter
  }

  get #isEnveloped (): boolean {
    return this.#options.envelope ?? this.#topics.length > 1
  }

  async #run (): Promise<void> {
    while (!this.#isClosed) {
      if (this.#isAsleep || this.#isIdle) await this.#wait()
      else await this.#wait(await this.#connect())
    }
  }

  /** All topics were removed. */
  get #isIdle (): boolean {
    return this.#options.topics !== undefined && this.#topics.length === 0
  }

  /** One attempt. Returns the milliseconds to wait before the next, 0 for none. */
  async #connect (): Promise<number> {
    const attempt = this.#attempt = new AbortController()
    this.#isOpen = false
    this.#change('connecting')
    this.#stall.start()
    try {
      const outcome = await Promise.race([this.#attemptOnce(attempt.signal), aborted(attempt.signal)])
      return this.#isClosed ? 0 : outcome === undefined ? this.#afterInterruption(attempt.signal) : this.#judge(outcome)
    } catch (cause) {
      // getToken or headers failed.
      return this.#isClosed ? 0 : this.#fail({ cause }, this.#backoff.afterFailure())
    } finally {
      this.#stall.stop()
      attempt.abort()
    }
  }

  async #attemptOnce (signal: AbortSignal): Promise<Outcome> {
    const request = await this.#request()
    return signal.aborted ? { kind: 'ended' } : await this.#transport(request, this.#sinkOf(signal), signal)
  }

  async #request (): Promise<ConnectionRequest> {
    const { headers, withCredentials = false } = this.#options
    return {
      url: this.#url(),
      cursor: this.#cursor,
      token: await this.#token.forConnection(),
      tokenParameter: this.#tokenParameter,
      headers: typeof headers === 'function' ? await headers() : headers ?? {},
      withCredentials
    }
  }

  #url (): URL {
    const url = new URL(this.#options.url, browser.location?.href)
    for (const topic of this.#topics) url.searchParams.append('topic', topic)
    if (this.#isEnveloped) url.searchParams.set('envelope', 'true')
    return url
  }

  #sinkOf (signal: AbortSignal): ConnectionSink {
    const unlessAborted =
      <Args extends unknown[]>(act: (...args: Args) => void) =>
        (...args: Args): void => {
          if (!signal.aborted) act(...args)
        }
    return {
      open: unlessAborted(() => this.#open()),
      message: unlessAborted((message: WireMessage) => this.#receive(message)),
      interrupted: unlessAborted(() => this.#change('connecting')),
      retry: unlessAborted((ms: number) => { this.#backoff.askedFor(ms) }),
      chunk: () => this.#stall.chunk(),
      comment: () => this.#stall.comment(),
      ready: () => this.#listener.ready()
    }
  }

  #open (): void {
    this.#isOpen = this.#hasBeenOpen = true
    this.#backoff.reset()
    this.#token.accepted()
    this.#isAnnounced = false
    this.#change('open')
  }

  #receive (message: WireMessage): void {
    if (message.id !== undefined) this.#cursor = message.id
    if (!this.#isAnnounced) this.#announce()
    if (message.event.startsWith('stream.')) this.#control(message.event, message.data)
    else this.#listener.published(publishedOf(message, this.#cursor, this.#topics, this.#isEnveloped))
    if (message.id !== undefined) this.#listener.moved(this.#cursor)
  }

  /** With the first message: `stream.open`, or whatever a server sends that knows no such event. */
  #announce (): void {
    this.#isAnnounced = true
    this.#listener.opened()
  }

  #control (event: string, data: string): void {
    const detail = parseDetail(data)
    if (detail === undefined) return
    if (event === 'stream.gap') this.#listener.gap(detail)
    else if (event === 'stream.end') this.#finish(detail)
    else if (event === 'stream.error') this.#fail({ message: detail.message }, 0)
    else if (event === 'stream.expiring') this.#renew(detail)
  }

  #finish (detail: EndDetail): void {
    this.#finished.add(detail.topic!)
    this.#listener.ended({ ...detail, reason: detail.reason ?? 'closed' })
    if (this.#topics.length > 0 && this.#topics.every(topic => this.#finished.has(topic))) this.close()
  }

  /** A new token, and a new stream with it, before the old one expires. */
  #renew (detail: ExpiringDetail): void {
    this.#listener.expiring(detail)
    this.#token.renew().then(
      isNew => { if (isNew) this.reconnect() },
      (cause: unknown) => { this.#fail({ cause }, 0) }
    )
  }

  #judge (outcome: Outcome): number {
    if (outcome.kind === 'rejected') return this.#judgeAnswer(outcome)
    if (!this.#isOpen) return this.#fail({ cause: outcome.cause }, this.#backoff.afterFailure())
    const waitMs = this.#backoff.afterStream()
    return outcome.cause === undefined ? waitMs : this.#fail({ cause: outcome.cause }, waitMs)
  }

  #judgeAnswer ({ status, message, retryAfterMs }: Outcome & { kind: 'rejected' }): number {
    if (status === NO_CONTENT) this.#listener.ended({ reason: 'closed' })
    else if (status === UNAUTHORIZED && this.#token.rejected()) return this.#fail({ status, message }, 0)
    else if (isTemporary(status) || (status === 200 && this.#hasBeenOpen)) {
      return this.#fail({ status, message }, this.#backoff.afterFailure(retryAfterMs))
    } else this.#listener.failed({ status, message, willRetry: false })
    this.close()
    return 0
  }

  #fail (detail: Partial<ErrorDetail>, waitMs: number): number {
    this.#listener.failed({ message: messageOf(detail.cause), ...detail, willRetry: true })
    return waitMs
  }

  #afterInterruption ({ reason }: AbortSignal): number {
    if ((reason as Interruption) !== 'stalled') return 0
    return this.#fail(
      { message: `no bytes for ${Math.round(this.#stall.windowMs / 1_000)} s` },
      this.#backoff.afterFailure()
    )
  }

  #interrupt (why: Interruption): void {
    this.#attempt?.abort(why)
  }

  /**
   * The page is visible again or the network is back: a stream that is silent for too long is dead, and a wait is over.
   */
  #wake (): void {
    if (this.#state === 'waiting') this.#proceed?.()
    else if (this.#stall.isStalled) this.#interrupt('again')
  }

  #sleep (): void {
    this.#isAsleep = true
    this.#interrupt('asleep')
  }

  #resume (): void {
    this.#isAsleep = false
    this.#proceed?.()
  }

  /** Waits for `ms`, or until something calls `#proceed`; without `ms` for that alone. */
  async #wait (ms?: number): Promise<void> {
    if (ms === 0 || this.#isClosed) return
    this.#change('waiting', ms)
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>(resolve => {
      this.#proceed = resolve
      if (ms !== undefined) timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
    this.#proceed = undefined
  }

  #change (state: SubscriptionState, retryInMs?: number): void {
    if (this.#state === state && state !== 'waiting') return
    if (this.#state === 'closed') return
    this.#state = state
    this.#listener.changed(state, retryInMs)
  }
}

/** Settles with undefined at the abort. */
function aborted (signal: AbortSignal): Promise<undefined> {
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}
