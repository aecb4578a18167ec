import { Turns } from '../../common/turns.ts'
import { errors } from '../errors.ts'
import type { Hub } from '../feed/hub.ts'
import type { LogLogger } from '../log/topic-log.ts'
import { checkOutcome } from '../log/lease.ts'
import type { CheckedProduceOptions } from './options.ts'
import { Production } from './production.ts'
import type { ProductionEnd } from './production.ts'
import type { ProducerSource } from './source.ts'

/** A producer that `app.topics.produce()` started. */
export interface Producer {
  readonly topic: string
  /** Identifies the producer for `app.topics.stop()`; each producer of a topic has a different one. */
  readonly lease: number
  /**
   * Number of the producer's events that the log has acknowledged, including those of the producer that it continues.
   */
  readonly accepted: number
  /** Resolves to how the producer ended. Never rejects. */
  readonly done: Promise<ProductionEnd>
  /**
   * Stops the producer: its signal aborts, items that its source has already yielded are published, and the topic is
   * closed as `stopped`. Resolves as `done` does.
   */
  stop: () => Promise<ProductionEnd>
}

/** How long the producers may take to end when the app closes, in ms. */
const CLOSE_MS = 3_000

/** The producers of this process. */
export class Producers {
  readonly #hub: Hub
  readonly #maxEventBytes: number
  readonly #logger: LogLogger
  readonly #turns = new Turns()
  /** A topic may briefly have two: one that was superseded may still be ending. */
  readonly #running = new Map<string, Map<Production, Promise<ProductionEnd>>>()

  constructor (hub: Hub, maxEventBytes: number, logger: LogLogger) {
    this.#hub = hub
    this.#maxEventBytes = maxEventBytes
    this.#logger = logger
    hub.onStop = (topic, fence) => {
      for (const production of this.#of(topic)) if (production.fence === fence) production.end('stopped')
    }
    // The topic may have been closed or deleted, or its producer superseded.
    hub.onResync = topic => { for (const production of this.#of(topic)) void production.check() }
  }

  /**
   * Rejects with `TOPICS_PRODUCER_EXISTS`, `TOPICS_CLOSED` or `TOPICS_LOG_UNAVAILABLE`; nothing is read from the source
   * then.
   */
  async start (topic: string, source: ProducerSource, options: CheckedProduceOptions): Promise<Producer> {
    // Followed before taking the lease, so that a request to stop is received from the very beginning.
    const unfollow = await this.#hub.follow(topic)
    try {
      return this.#run(await this.#take(topic, options), source, unfollow)
    } catch (error) {
      unfollow()
      throw error
    }
  }

  /**
   * Ends all of them, as `lost` unless they can be continued elsewhere, because their work ends with this process.
   * Settles within a limited time.
   */
  async close (): Promise<void> {
    const running = [...this.#running.values()].flatMap(productions => [...productions])
    for (const [production] of running) production.leave()
    const timer = setTimeout(() => { for (const [production] of running) production.giveUp() }, CLOSE_MS)
    await Promise.all(running.map(([, done]) => done))
    clearTimeout(timer)
  }

  #of (topic: string): Production[] {
    return [...this.#running.get(topic)?.keys() ?? []]
  }

  async #take (topic: string, options: CheckedProduceOptions): Promise<Production> {
    const { log, onTrouble } = this.#hub
    const { holder, leaseMs, takeOver, producerId, after, ttlMs } = options
    const resumeAfter = producerId === undefined ? undefined : after
    const askedAt = performance.now()
    const reply = await log.lease(topic, { do: 'take', holder, leaseMs, takeOver, resumeAfter, ttlMs })
    if (reply.outcome === 'missing') {
      const known = reply.holder === holder && !reply.isClosed ? reply.accepted : 0
      throw new errors.TOPICS_EVENTS_MISSING(topic, known, after)
    }
    checkOutcome(topic, reply)
    const { fence, accepted, mustStop } = reply
    const production = new Production({
      log,
      topic,
      fence,
      accepted,
      askedAt,
      maxEventBytes: this.#maxEventBytes,
      options,
      turns: this.#turns,
      onTrouble,
      logger: this.#logger
    })
    // It was asked to stop before this process followed the topic.
    if (mustStop) production.end('stopped')
    return production
  }

  #run (production: Production, source: ProducerSource, unfollow: () => void): Producer {
    const { topic } = production
    const done = production.run(source).finally(() => {
      this.#forget(production)
      unfollow()
    })
    const productions = this.#running.get(topic) ?? new Map<Production, Promise<ProductionEnd>>()
    this.#running.set(topic, productions.set(production, done))
    return {
      topic,
      lease: production.fence,
      get accepted () { return production.accepted },
      done,
      stop: async () => {
        production.end('stopped')
        return done
      }
    }
  }

  #forget (production: Production): void {
    const productions = this.#running.get(production.topic)
    productions?.delete(production)
    if (productions?.size === 0) this.#running.delete(production.topic)
  }
}
