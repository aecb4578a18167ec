import { setTimeout as pause } from 'node:timers/promises'
import { deferred } from '../../../plugin/common/deferred.ts'
import { call } from './service-app.ts'

/** A published event that was acknowledged. */
export interface Acknowledged { topic: string, data: string, id: string }

export interface StubbornPublisherInit {
  name: string
  topics: readonly string[]
  /** Where to send the next attempt; settles when a server is available. */
  origin: () => Promise<string>
  onAcknowledged: (acknowledged: Acknowledged) => void
}

/** As an application would; otherwise an unavailable log would get thousands of requests. */
const RETRY_MS = 10

/**
 * Publishes `<topic> <name> 1`, `<topic> <name> 2`, … to its topics in turn, one after another. An event that is not
 * acknowledged, because the connection broke or the log was unavailable, is sent again with the same idempotency key
 * until it is.
 */
export class StubbornPublisher {
  readonly acknowledged: Acknowledged[] = []
  /** Number of failed attempts. */
  failures = 0
  /** Number of attempts that found their event already stored: the earlier response was lost. */
  repeats = 0
  readonly #init: StubbornPublisherInit
  #isStopping = false
  readonly #over = deferred<void>()

  constructor (init: StubbornPublisherInit) {
    this.#init = init
    void this.#run()
  }

  get name (): string { return this.#init.name }

  /** Lets it finish its current event; settles when that is acknowledged. */
  async stop (): Promise<void> {
    this.#isStopping = true
    await this.#over.promise
  }

  async #run (): Promise<void> {
    const { name, topics, onAcknowledged } = this.#init
    for (let count = 1; !this.#isStopping; count++) {
      const topic = topics[count % topics.length]!
      const data = `${topic} ${name} ${count}`
      const acknowledged = { topic, data, id: await this.#publish(topic, data) }
      this.acknowledged.push(acknowledged)
      onAcknowledged(acknowledged)
    }
    this.#over.settle()
  }

  async #publish (topic: string, data: string): Promise<string> {
    for (;;) {
      const origin = await this.#init.origin()
      const headers = { connection: 'keep-alive', 'idempotency-key': data.replaceAll(' ', '-') }
      const answer = await call(`${origin}/topics/${topic}/events`, {
        method: 'POST', body: { data }, headers
      }).catch(() => undefined)
      if (answer?.status === 201) {
        if (answer.headers.has('idempotency-replayed')) this.repeats++
        return (answer.json as { id: string }).id
      }
      // Any response other than an acknowledgement or an unavailable log would be a bug.
      if (answer !== undefined && answer.status !== 503) throw new Error(`${answer.status} ${answer.text}`)
      this.failures++
      await pause(RETRY_MS)
    }
  }
}
