import type { Hub } from '../hub.ts'
import { checkOutcome } from '../log/lease.ts'
import type { CheckedProduceOptions } from './options.ts'
import { Production } from './production.ts'
import type { ProductionEnd } from './production.ts'
import type { ProducerSource } from './source.ts'

/** A producer that `app.topics.produce()` started. */
export interface Producer {
  readonly topic: string
  /** Identifies the producer for `app.topics.stop()`; a later producer of the topic has another one. */
  readonly lease: number
  /** Settles when the producer has ended, with how. Never rejects. */
  readonly done: Promise<ProductionEnd>
  /**
   * Stops the producer: its signal aborts, what its source gave is still published, and the topic is closed as
   * `stopped`. Settles as `done` does.
   */
  stop: () => Promise<ProductionEnd>
}

/** How long the producers of an app that closes may take to say that they end, in ms. */
const CLOSE_MS = 3_000

/** The producers of this process. */
export class Producers {
  readonly #hub: Hub
  readonly #maxEventBytes: number
  /** A topic may have two for a moment: one that was superseded is still ending. */
  readonly #running = new Map<string, Map<Production, Promise<ProductionEnd>>>()

  constructor (hub: Hub, maxEventBytes: number) {
    this.#hub = hub
    this.#maxEventBytes = maxEventBytes
    hub.onStop = (topic, fence) => {
      for (const production of this.#of(topic)) if (production.fence === fence) production.end('stopped')
    }
    // Closed, deleted or taken over, perhaps.
    hub.onDoubt = topic => { for (const production of this.#of(topic)) void production.check() }
  }

  /**
   * Rejects with `TOPICS_PRODUCER_EXISTS`, `TOPICS_CLOSED` and `TOPICS_LOG_UNAVAILABLE`; nothing of the source is read
   * then.
   */
  async start (topic: string, source: ProducerSource, options: CheckedProduceOptions): Promise<Producer> {
    // Before the lease: from its first moment on a stop is heard.
    const unfollow = await this.#hub.follow(topic)
    try {
      return this.#run(await this.#take(topic, options), source, unfollow)
    } catch (error) {
      unfollow()
      throw error
    }
  }

  /** Ends all of them as `lost`: their work goes with this process. Settles within a bounded time. */
  async close (): Promise<void> {
    const running = [...this.#running.values()].flatMap(productions => [...productions])
    for (const [production] of running) production.end('lost')
    const timer = setTimeout(() => { for (const [production] of running) production.giveUp() }, CLOSE_MS)
    await Promise.all(running.map(([, done]) => done))
    clearTimeout(timer)
  }

  #of (topic: string): Production[] {
    return [...this.#running.get(topic)?.keys() ?? []]
  }

  async #take (topic: string, options: CheckedProduceOptions): Promise<Production> {
    const { log, onTrouble } = this.#hub
    const { holder, leaseMs, takeOver } = options
    const reply = await log.lease(topic, { do: 'take', holder, leaseMs, takeOver })
    checkOutcome(topic, reply)
    return new Production({ log, topic, fence: reply.fence, maxEventBytes: this.#maxEventBytes, options, onTrouble })
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
