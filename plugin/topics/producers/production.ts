import { reportOf } from '../../reply/error-report.ts'
import { errors } from '../errors.ts'
import type { EndReason } from '../log/lease.ts'
import type { TopicLog } from '../log/topic-log.ts'
import { checkEvent } from '../new-event.ts'
import type { CheckedEvent } from '../new-event.ts'
import { retryUntilAvailable } from '../retry.ts'
import { Batcher } from './batcher.ts'
import type { CheckedProduceOptions } from './options.ts'
import { readSource } from './source.ts'
import type { ProducerSource } from './source.ts'

/** How a producer ended. `superseded`: another one took over, or the topic was deleted. */
export interface ProductionEnd {
  reason: EndReason | 'superseded'
  /** What the source, or an event of it, failed with. */
  error?: unknown
}

export interface ProductionInit {
  log: TopicLog
  topic: string
  fence: number
  maxEventBytes: number
  options: CheckedProduceOptions
  /** Told when the log could not be asked. */
  onTrouble: (topic: string, error: unknown) => void
}

/** A lease is renewed this many times while it runs. */
const RENEWALS = 3
const MAX_MESSAGE_LENGTH = 1_000

/** One producer at work: a source that is written into its topic while the lease holds. */
export class Production {
  readonly topic: string
  readonly fence: number
  readonly #init: ProductionInit
  readonly #controller = new AbortController()
  readonly #batcher: Batcher<CheckedEvent>
  #accepted = 0
  /** `performance.now()` of the last request that the log granted. */
  #heardAt = performance.now()
  /** Why it ends before its source does. */
  #ending: 'stopped' | 'lost' | undefined
  /** Nothing more is asked of the log. */
  #isGivenUp = false

  constructor (init: ProductionInit) {
    this.topic = init.topic
    this.fence = init.fence
    this.#init = init
    this.#batcher = new Batcher(init.options, batch => this.#append(batch))
    const { signal } = init.options
    if (signal?.aborted) this.end('stopped')
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Aborts the source; what it gave is still written. */
  end (reason: 'stopped' | 'lost'): void {
    this.#ending ??= reason
    this.#controller.abort()
  }

  /** Asks nothing more of the log: the lease runs out by itself. */
  giveUp (): void {
    this.end('lost')
    this.#isGivenUp = true
  }

  readonly #onAbort = (): void => { this.end('stopped') }

  /** Settles when the topic is closed, or the lease is another producer's. Never rejects. */
  async run (source: ProducerSource): Promise<ProductionEnd> {
    const { leaseMs, signal } = this.#init.options
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

  /** Writes all of the source. Settles with how it ended; rejects when the log refuses. */
  async #consume (source: ProducerSource): Promise<ProductionEnd> {
    const failure = await this.#copy(source).then(() => undefined, (error: unknown) => ({ error }))
    await this.#batcher.flush()
    if (this.#ending !== undefined) return { reason: this.#ending }
    return failure ? { reason: 'failed', ...failure } : { reason: 'done' }
  }

  async #copy (source: ProducerSource): Promise<void> {
    for await (const { event, data, retry } of readSource(source, this.#controller.signal)) {
      await this.#batcher.add(checkEvent({ event, data, retry }, '', this.#init))
    }
  }

  /** Appends as often as it takes: the number of events appended before tells the log what was done already. */
  async #append (batch: readonly CheckedEvent[]): Promise<void> {
    const lease = { fence: this.fence, accepted: this.#accepted }
    try {
      await this.#ask(() => this.#init.log.append(this.topic, batch, { lease }))
    } catch (error) {
      // Whatever the source gives from now on has nowhere to go.
      this.#controller.abort()
      throw error
    }
    this.#accepted += batch.length
    this.#heardAt = performance.now()
  }

  async #close (end: ProductionEnd): Promise<ProductionEnd> {
    const { reason, error } = end
    const message = reason === 'failed' ? this.#describe(error).slice(0, MAX_MESSAGE_LENGTH) : ''
    const request = { do: 'end', fence: this.fence, reason: reason as EndReason, message } as const
    const reply = await this.#ask(() => this.#init.log.lease(this.topic, request))
    // Closed already: by this very request, whose answer was lost, or by somebody else.
    if (reply.outcome === 'closed' && reply.reason !== undefined) return { ...end, reason: reply.reason }
    return reply.outcome === 'ok' ? end : { ...end, reason: 'superseded' }
  }

  #describe (error: unknown): string {
    try {
      return this.#init.options.describeError?.(error) ?? reportOf(error).message
    } catch {
      return reportOf(undefined).message
    }
  }

  /** How it ended when the log took no more. */
  async #refused (error: unknown): Promise<ProductionEnd> {
    if (error instanceof errors.TOPICS_LEASE_LOST) return { reason: 'superseded' }
    if (!(error instanceof errors.TOPICS_CLOSED)) return { reason: 'lost', error }
    const look = this.#init.log.lease(this.topic, { do: 'look' })
    const { reason } = await look.catch(() => ({ reason: undefined }))
    return { reason: reason ?? 'closed' }
  }

  async #renew (): Promise<void> {
    if (performance.now() - this.#heardAt >= this.#init.options.leaseMs / RENEWALS / 2) await this.check()
  }

  /** Renews the lease, and with that learns whether it still holds and whether the producer is to stop. */
  async check (): Promise<void> {
    try {
      const { outcome, mustStop } = await this.#init.log.lease(this.topic, { do: 'renew', fence: this.fence })
      if (outcome === 'ok') this.#heardAt = performance.now()
      // The source is stopped; the next request of this producer learns why.
      else this.end('lost')
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
