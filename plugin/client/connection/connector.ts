import { IN_BAND } from '../../common/in-band.ts'
import { aborted, guardWith } from '../aborted.ts'
import type { Interruption } from '../aborted.ts'
import { Backoff } from './backoff.ts'
import type { ConnectorListener } from './connector-listener.ts'
import { positionOf, tagOf } from '../cursor.ts'
import { publishedOf } from '../envelope.ts'
import type { EndDetail, ErrorDetail, ExpiringDetail, Published, SubscriptionState } from '../events.ts'
import { isTemporary, messageOf, NO_CONTENT, parseDetail, UNAUTHORIZED } from '../messages.ts'
import type { SubscribeOptions } from '../options.ts'
import { watchPage } from '../page-signals.ts'
import { Pause } from '../pause.ts'
import { StallWatch } from './stall-watch.ts'
import { allTopics, streamUrl } from './stream-url.ts'
import { TokenKeeper } from './token.ts'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport, WireMessage } from './transport.ts'

/**
 * Keeps one stream open: connects, decides what its end means, waits, and connects again with the cursor. There is one
 * attempt at a time; anything that arrives from an aborted attempt is dropped, so that no event is delivered twice.
 */
export class Connector {
  readonly #options: SubscribeOptions<never>
  readonly #listener: ConnectorListener
  readonly #transport: Transport
  readonly #backoff: Backoff
  readonly #stall: StallWatch
  readonly #token: TokenKeeper
  readonly #lifetime = new AbortController()
  /** Topics whose end the current stream has reported. The server repeats the ends when a stream opens. */
  readonly #finished = new Set<string>()
  #topics: readonly string[]
  #cursor: string
  #attempt: AbortController | undefined
  #state: SubscriptionState = 'connecting'
  #hasBeenOpen = false
  #isOpen = false
  /** True from the start of a stream until its first message. */
  #isNew = false
  #isAsleep = false
  /** The most recent change of topics. */
  #changing: Promise<void> = Promise.resolve()
  /** The wait before the next attempt. */
  readonly #pause = new Pause()

  constructor (options: SubscribeOptions<never>, transport: Transport, cursor: string, listener: ConnectorListener) {
    this.#options = options
    this.#listener = listener
    this.#transport = transport
    this.#topics = allTopics(options.url, options.topics)
    this.#cursor = cursor
    this.#backoff = new Backoff(options.backoff)
    this.#stall = new StallWatch(() => this.#interrupt('stalled'), options.stallTimeoutMs)
    this.#token = new TokenKeeper(options.getToken, this.#tokenParameter !== undefined)
    const { signal } = this.#lifetime
    watchPage({ wake: () => this.#wake(), sleep: () => this.#sleep(), resume: () => this.#resume() }, signal)
    // Deferred, so that the caller can add its listeners first.
    queueMicrotask(() => { void this.#run() })
  }

  get cursor (): string { return this.#cursor }
  get topics (): readonly string[] { return this.#topics }
  /** Aborted when the connector is closed. */
  get signal (): AbortSignal { return this.#lifetime.signal }
  get state (): SubscriptionState { return this.#state }
  /** True if the current stream has reported the end of one of these topics. */
  hasFinished (topics: readonly string[]): boolean { return topics.some(topic => this.#finished.has(topic)) }

  /** Connects again immediately, from the cursor. */
  reconnect (): void {
    this.#interrupt('again')
    this.#pause.end()
  }

  /** Starts again with these topics, from this cursor. */
  restart (topics: readonly string[], cursor: string): void {
    this.#topics = topics
    this.#cursor = cursor
    this.reconnect()
  }

  /** Changes the topics. Existing topics keep their positions; a new one starts now. */
  setTopics (topics: readonly string[]): void {
    const after = allTopics(this.#options.url, topics)
    this.#changing = this.#changing.then(async () => {
      const before = this.#topics
      if (before.join() === after.join()) return
      // With a single topic, an id does not say which topic it belongs to.
      const tag = before.length === 1 ? await tagOf(before[0]!) : undefined
      if (tag !== undefined) this.#cursor = positionOf(tag, this.#cursor)
      else if (before.length === 1 && !after.includes(before[0]!)) this.#cursor = ''
      this.#topics = after
      this.reconnect()
    })
  }

  close (): void {
    if (this.#lifetime.signal.aborted) return
    this.#lifetime.abort()
    this.#interrupt('closed')
    this.#pause.end()
    this.#change('closed')
  }

  get #isClosed (): boolean { return this.#lifetime.signal.aborted }

  get #tokenParameter (): string | undefined { return this.#options.tokenParameter ?? this.#transport.tokenParameter }
  get #isEnveloped (): boolean { return this.#options.envelope ?? this.#topics.length > 1 }

  async #run (): Promise<void> {
    while (!this.#isClosed) {
      await this.#wait(this.#isAsleep || this.#isIdle ? undefined : await this.#connect())
    }
  }

  /** True if all topics were removed. */
  get #isIdle (): boolean { return this.#options.topics !== undefined && this.#topics.length === 0 }

  /** Makes one attempt. Returns the milliseconds to wait before the next one, 0 for no wait. */
  async #connect (): Promise<number> {
    const { signal } = this.#attempt = new AbortController()
    this.#isOpen = false
    this.#pause.reset()
    this.#change('connecting')
    this.#stall.start()
    try {
      const outcome = await Promise.race([this.#attemptOnce(signal), aborted(signal)])
      // Topics that change now abort the attempt, even if the previous ones have ended.
      await this.#changing
      return this.#isClosed ? 0 : signal.aborted ? this.#afterInterruption(signal) : this.#judge(outcome!)
    } catch (cause) {
      // `getToken` or `headers` failed.
      return this.#isClosed ? 0 : this.#fail({ cause }, this.#backoff.afterFailure())
    } finally {
      this.#stall.stop()
      this.#attempt.abort()
    }
  }

  async #attemptOnce (signal: AbortSignal): Promise<Outcome> {
    const request = await this.#request()
    return signal.aborted ? { kind: 'ended' } : await this.#transport(request, this.#sinkOf(signal), signal)
  }

  async #request (): Promise<ConnectionRequest> {
    const { headers, withCredentials = false } = this.#options
    return {
      url: streamUrl(this.#options.url, this.#topics, this.#isEnveloped),
      cursor: this.#cursor,
      token: await this.#token.forConnection(),
      tokenParameter: this.#tokenParameter,
      headers: typeof headers === 'function' ? await headers() : headers ?? {},
      withCredentials
    }
  }

  #sinkOf (signal: AbortSignal): ConnectionSink {
    const unlessAborted = guardWith(signal)
    return {
      open: unlessAborted(() => this.#open()),
      message: unlessAborted((message: WireMessage) => this.#receive(message)),
      interrupted: unlessAborted(() => {
        if (!this.#isFinished) return this.#change('connecting')
        void this.#changing.then(unlessAborted(() => this.close()))
      }),
      retry: unlessAborted((ms: number) => { this.#backoff.askedFor(ms) }),
      chunk: () => this.#stall.chunk(),
      comment: () => this.#stall.comment(),
      ready: () => {
        const room = this.#listener.ready()
        if (room) this.#stall.stop()
        return room?.then(() => { if (!signal.aborted) this.#stall.start() })
      }
    }
  }

  #open (): void {
    this.#isOpen = this.#hasBeenOpen = true
    this.#backoff.reset()
    this.#token.accepted()
    this.#isNew = true
    this.#finished.clear()
    this.#change('open')
  }

  #receive (message: WireMessage): void {
    if (message.id !== undefined) this.#cursor = message.id
    // The first message: `stream.open`, or whatever a server sends that does not support it.
    if (this.#isNew) this.#listener.opened()
    this.#isNew = false
    if (message.event.startsWith('stream.')) this.#control(message.event, message.data)
    else this.#publish(publishedOf(message, this.#cursor, this.#topics, this.#isEnveloped))
    if (message.id !== undefined) this.#listener.moved(this.#cursor)
  }

  #control (event: string, data: string): void {
    const detail = parseDetail(data)
    if (detail === undefined) return
    if (event === IN_BAND.gap) {
      this.#finished.delete(detail.topic!)
      this.#listener.gap(detail)
    } else if (event === IN_BAND.end) this.#finish(detail)
    else if (event === IN_BAND.error) this.#fail({ message: detail.message }, 0)
    else if (event === IN_BAND.expiring) this.#renew(detail)
  }

  /** A topic with an event or a gap after its end was deleted, and thereby reopened. */
  #publish (event: Published): void {
    this.#finished.delete(event.topic!)
    this.#listener.published(event)
  }

  #finish (detail: EndDetail): void {
    this.#finished.add(detail.topic!)
    this.#listener.ended({ ...detail, reason: detail.reason ?? 'closed' })
  }

  /**
   * True if the server has ended all topics. Only the end of the stream then shows that none was reopened. An
   * EventSource cannot tell it from a broken connection, and closes in both cases.
   */
  get #isFinished (): boolean {
    return this.#topics.length > 0 && this.#topics.every(topic => this.#finished.has(topic))
  }

  /** Fetches a new token and opens a new stream with it, before the old token expires. */
  #renew (detail: ExpiringDetail): void {
    this.#listener.expiring(detail)
    this.#token.renew().then(
      isNew => { if (isNew) this.reconnect() },
      (cause: unknown) => { this.#fail({ cause }, 0) }
    )
  }

  #judge (outcome: Outcome): number {
    if (outcome.kind === 'rejected') return this.#judgeAnswer(outcome)
    if (outcome.kind === 'ended' && outcome.cause === undefined && this.#isFinished) {
      this.close()
      return 0
    }
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
    const message = `no bytes for ${Math.round(this.#stall.silenceMs / 1_000)} s`
    return this.#fail({ message }, this.#backoff.afterFailure())
  }

  #interrupt (why: Interruption): void { this.#attempt?.abort(why) }

  /**
   * The page is visible again or the network is back: replaces a stream that has been silent for too long, and ends any
   * wait.
   */
  #wake (): void {
    if (this.#state === 'waiting') this.#pause.end()
    else if (this.#stall.isStalled) this.#interrupt('again')
  }

  #sleep (): void {
    this.#isAsleep = true
    this.#interrupt('asleep')
  }

  #resume (): void {
    this.#isAsleep = false
    this.#pause.end()
  }

  /** Waits for `ms` or until something ends the pause; without `ms`, only for the latter. */
  async #wait (ms?: number): Promise<void> {
    if (ms === 0 || this.#isClosed) return
    this.#change('waiting', ms)
    await this.#pause.wait(ms)
  }

  #change (state: SubscriptionState, retryInMs?: number): void {
    if (this.#state === 'closed' || (this.#state === state && state !== 'waiting')) return
    this.#state = state
    this.#listener.changed(state, retryInMs)
  }
}
