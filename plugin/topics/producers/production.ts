import { guardCallback } from '../../common/callback.ts'
import type { Turns } from '../../common/turns.ts'
import { reportOf } from '../../reply/error-report.ts'
import { errors } from '../errors.ts'
import type { EndReason, LeaseReply, LeaseRequest } from '../log/lease.ts'
import type { LogLogger, TopicLog } from '../log/topic-log.ts'
import { checkEvent } from '../new-event.ts'
import type { CheckedEvent } from '../new-event.ts'
import { retryUntilAvailable } from '../retry.ts'
import { Batcher } from './batcher.ts'
import type { CheckedProduceOptions } from './options.ts'
import { openSource } from './source.ts'
import type { ProducerSource } from './source.ts'

/**
 * How a producer ended. `superseded`: another one took over or continued it, or the topic was deleted. `interrupted`:
 * it has a `producerId`, and its source threw `TOPICS_INTERRUPTED` or the app closed; the topic stays open and the
 * lease valid.
 */
export interface ProductionEnd {
  reason: EndReason | 'superseded' | 'interrupted'
  /** The error of the source, or of one of its events. */
  error?: unknown
}

export interface ProductionInit {
  log: TopicLog
  topic: string
  fence: number
  /** Number of this producer's events that the topic already has. */
  accepted: number
  /** `performance.now()` when the lease was requested. */
  askedAt: number
  maxEventBytes: number
  options: CheckedProduceOptions
  /** Shared with all other producers. */
  turns: Turns
  /** Called if the log could not be queried. */
  onTrouble: (topic: string, error: unknown) => void
  /** Reports failed callbacks. */
  logger: LogLogger
}

/** A lease is renewed this many times during its duration. */
const RENEWALS = 3
const MAX_MESSAGE_LENGTH = 1_000

/** One active producer: a source that is written to its topic while the lease is held. */
export class Production {
  readonly topic: string
  readonly fence: number
  readonly #init: ProductionInit
  readonly #controller = new AbortController()
  readonly #batcher: Batcher<CheckedEvent>
  /** Number of the source's events that the topic already has. */
  #skip: number
  #accepted: number
  /** `performance.now()` when the last request that the log granted was sent: the lease runs from then on, or later. */
  #heardAt: number
  /** Why it ends before its source does. */
  #ending: 'stopped' | 'lost' | 'interrupted' | undefined
  /** True if no more requests are made to the log. */
  #isGivenUp = false

  constructor (init: ProductionInit) {
    this.topic = init.topic
    this.fence = init.fence
    this.#init = init
    this.#accepted = init.accepted
    this.#heardAt = init.askedAt
    this.#skip = init.accepted - init.options.after
    this.#batcher = new Batcher(init.options, batch => this.#append(batch))
    const { signal } = init.options
    if (signal?.aborted) this.end('stopped')
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Number of this producer's events that the log has acknowledged. */
  get accepted (): number { return this.#accepted }

  /** Ends because the process does: a producer that can be continued elsewhere leaves the topic open. */
  leave (): void { this.end(this.#interruption) }

  get #interruption (): 'interrupted' | 'lost' {
    return this.#init.options.producerId === undefined ? 'lost' : 'interrupted'
  }

  /** Aborts the source; items that it has already yielded are still written. */
  end (reason: 'stopped' | 'lost' | 'interrupted'): void {
    this.#ending ??= reason
    this.#controller.abort()
  }

  /** Makes no more requests to the log: the lease expires by itself. */
  giveUp (): void {
    this.leave()
    this.#isGivenUp = true
  }

  readonly #onAbort = (): void => { this.end('stopped') }

  /** Settles when the topic is closed, or another producer holds the lease. Never rejects. */
  async run (source: ProducerSource): Promise<ProductionEnd> {
    const { leaseMs, signal } = this.#init.options
    if (this.#accepted > 0) this.#reportAccepted()
    const renewal = setInterval(() => { void this.#renew() }, leaseMs / RENEWALS).unref()
    try {
      return await this.#close(await this.#consume(source))
    } catch (error) {
      return this.#refused(error)
    } finally {
      clearInterval(renewal)
      signal?.removeEventListener('abort', this.#onAbort)
      this.#controller.abort()
    }
  }

  /** Writes the whole source. Resolves to how it ended; rejects if the log rejects an append. */
  async #consume (source: ProducerSource): Promise<ProductionEnd> {
    const failure = await this.#copy(source).then(() => undefined, (error: unknown) => ({ error }))
    await this.#batcher.flush()
    if (this.#ending !== undefined) return { reason: this.#ending }
    if (!failure) return { reason: 'done' }
    const isInterrupted = failure.error instanceof errors.TOPICS_INTERRUPTED
    return { reason: isInterrupted ? this.#interruption : 'failed', ...failure }
  }

  /** A source that is always ready, and a log in memory, never wait for the event loop: other work would not run. */
  async #copy (source: ProducerSource): Promise<void> {
    const { turns, maxEventBytes } = this.#init
    const init = { signal: this.#controller.signal, maxEventBytes }
    for await (const { event, data, retry } of await openSource(source, init)) {
      if (this.#skip-- <= 0) await this.#batcher.add(checkEvent({ event, data, retry }, '', this.#init))
      if (turns.mustPause()) await turns.next()
    }
  }

  /**
   * Appends as often as necessary: the number of events appended before shows the log which appends were already
   * executed.
   */
  async #append (batch: readonly CheckedEvent[]): Promise<void> {
    try {
      await this.#appendHeld(batch).catch(async (error: unknown) => {
        if (!(error instanceof errors.TOPICS_LEASE_LOST && await this.#restore())) throw error
        await this.#appendHeld(batch)
      })
    } catch (error) {
      // Items that the source yields from now on could not be stored.
      this.#controller.abort()
      throw error
    }
    this.#accepted += batch.length
    this.#reportAccepted()
  }

  #reportAccepted (): void {
    this.#call('onAppend', ({ onAppend }) => onAppend?.(this.#accepted))
  }

  #call<T> (name: string, callback: (options: CheckedProduceOptions) => T, instead?: T): T | undefined {
    const { logger, options } = this.#init
    return guardCallback(logger, `${name} callback of a producer`, () => callback(options), instead)
  }

  async #appendHeld (batch: readonly CheckedEvent[]): Promise<void> {
    const lease = { fence: this.fence, accepted: this.#accepted }
    await this.#ask(async () => {
      const askedAt = performance.now()
      const appended = await this.#init.log.append(this.topic, batch, { lease })
      if (!appended.isRepeat) this.#heardAt = askedAt
      return appended
    })
  }

  /**
   * A failover can lose the lease itself, and everything written since. If the log knows of no later lease, it is
   * restored; not if it may have expired by the clock of this process.
   */
  async #restore (): Promise<boolean> {
    const { holder, leaseMs, ttlMs } = this.#init.options
    if (performance.now() - this.#heardAt >= leaseMs) return false
    const request = { do: 'restore', fence: this.fence, holder, leaseMs, accepted: this.#accepted, ttlMs } as const
    return (await this.#ask(() => this.#init.log.lease(this.topic, request))).outcome === 'ok'
  }

  /** Makes a request with the lease of this producer, and restores the lease if the log has lost it. */
  async #askHeld (request: LeaseRequest): Promise<LeaseReply> {
    const ask = (): Promise<LeaseReply> => this.#ask(() => this.#init.log.lease(this.topic, request))
    const reply = await ask()
    return reply.outcome === 'superseded' && await this.#restore() ? ask() : reply
  }

  async #close (end: ProductionEnd): Promise<ProductionEnd> {
    const { reason, error } = end
    if (reason === 'interrupted') return end
    const message = reason === 'failed' ? this.#describe(error).slice(0, MAX_MESSAGE_LENGTH) : ''
    const request = { do: 'end', fence: this.fence, reason: reason as EndReason, message } as const
    const reply = await this.#askHeld(request)
    if (reply.outcome === 'ok') return end
    return { ...end, reason: this.#endOf(reply) }
  }

  /** Why the topic is closed: by a request of this producer whose answer was lost, or by somebody else. */
  #endOf ({ reason, fence }: LeaseReply): ProductionEnd['reason'] {
    return fence === this.fence && reason !== undefined ? reason : 'superseded'
  }

  #describe (error: unknown): string {
    const describe = (options: CheckedProduceOptions): unknown => options.describeError?.(error)
    const text = this.#call('describeError', describe, reportOf(undefined).message)
    return typeof text === 'string' ? text : reportOf(error).message
  }

  /** How it ended when the log accepted no more events. */
  async #refused (error: unknown): Promise<ProductionEnd> {
    if (error instanceof errors.TOPICS_LEASE_LOST) return { reason: 'superseded' }
    if (!(error instanceof errors.TOPICS_CLOSED)) return { reason: 'lost', error }
    const look = this.#init.log.lease(this.topic, { do: 'look' })
    return { reason: await look.then(reply => this.#endOf(reply), () => 'closed') }
  }

  async #renew (): Promise<void> {
    if (performance.now() - this.#heardAt >= this.#init.options.leaseMs / RENEWALS / 2) await this.check()
  }

  /** Renews the lease, which also shows whether it is still held and whether the producer should stop. */
  async check (): Promise<void> {
    try {
      const askedAt = performance.now()
      const { outcome, mustStop } = await this.#init.log.lease(this.topic, { do: 'renew', fence: this.fence })
      if (outcome === 'ok') this.#heardAt = askedAt
      // The source is stopped; the next request of this producer returns the reason.
      else if (outcome !== 'superseded' || !await this.#restore()) this.end('lost')
      if (mustStop) this.end('stopped')
    } catch (error) {
      this.#init.onTrouble(this.topic, error)
    }
  }

  async #ask<T> (request: () => Promise<T>): Promise<T> {
    const onTrouble = (error: unknown): void => { this.#init.onTrouble(this.topic, error) }
    const answer = await retryUntilAvailable(request, () => this.#isGivenUp, onTrouble)
    if (answer === undefined) throw new errors.TOPICS_LOG_UNAVAILABLE('the app closed before the log was back')
    return answer
  }
}
